"""Regions of faces: the parts of procedural faces, which are known, and the fields of a grid on photographs."""

import numpy as np
import xarray as xr

FIELDS = 4  # rows and columns of the grid


def regions(faces: xr.Dataset) -> tuple[np.ndarray, list[str]]:
    """Region of every pixel `(image, y, x)`, an index into the names.

    On procedural faces the background, then the parts; on photographs fields, named row.column from 1.
    """
    if "parts" in faces:
        return faces.parts.values.astype(int), list(faces.attrs["parts"])
    count, _, height, width = faces.pixels.shape
    rows, columns = (np.arange(size) * FIELDS // size for size in (height, width))
    grid = rows[:, None] * FIELDS + columns[None]
    names = [f"{row + 1}.{column + 1}" for row in range(FIELDS) for column in range(FIELDS)]
    return np.broadcast_to(grid, (count, height, width)), names
