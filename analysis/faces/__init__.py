"""The stimuli: procedural faces and objects with known parts, and folders of photographs."""

from .folders import read_folder
from .objects import make_objects
from .procedural import (
    FACTORS,
    PART_FACTORS,
    VIEWS,
    Picture,
    contact_sheet,
    make_faces,
    render,
    sample_identities,
    sample_views,
    swap_parts,
)

__all__ = [
    "FACTORS",
    "PART_FACTORS",
    "VIEWS",
    "Picture",
    "contact_sheet",
    "make_faces",
    "make_objects",
    "read_folder",
    "render",
    "sample_identities",
    "sample_views",
    "swap_parts",
]
