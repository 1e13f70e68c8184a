"""The stimuli: procedural faces and objects with known parts, and folders of photographs."""

from .factors import FACTORS, PART_FACTORS, swap_parts
from .objects import make_objects
from .photographs import read_folder
from .portrait import render
from .procedural import contact_sheet, make_faces

__all__ = [
    "FACTORS",
    "PART_FACTORS",
    "contact_sheet",
    "make_faces",
    "make_objects",
    "read_folder",
    "render",
    "swap_parts",
]
