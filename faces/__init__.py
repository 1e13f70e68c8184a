"""The stimuli: procedural faces and objects with known parts, and folders of photographs."""

from .factors import FACTORS, PART_FACTORS, sample_identities, swap_parts
from .objects import make_objects
from .photographs import list_images, read_folder, read_images
from .portrait import render
from .procedural import contact_sheet, make_faces

__all__ = [
    "FACTORS",
    "PART_FACTORS",
    "contact_sheet",
    "list_images",
    "make_faces",
    "make_objects",
    "read_folder",
    "read_images",
    "render",
    "sample_identities",
    "swap_parts",
]
