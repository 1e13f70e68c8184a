"""The stimuli: procedural faces and objects with known parts, and folders of photographs."""

from .objects import make_objects
from .photographs import read_folder
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
