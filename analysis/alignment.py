"""Maps of different faces in one frame, so that what is averaged is the same place of the face in all of them."""

import numpy as np
import torch
from skimage.transform import AffineTransform, warp
from torch import Tensor


def average_aligned(scores: Tensor, landmarks: np.ndarray) -> Tensor:
    """The mean map of all other faces, laid on each face by its landmarks: `(N, H, W)` float32 on the CPU.

    It is the control "average" (see `attribution.control`) without what differs in place, size and tilt of the faces:
    each map, scaled to unit absolute sum, goes to the mean of the landmarks by the affine transform that fits them best
    (least squares), and the mean of the others comes back to the image by its inverse. Pixels from outside are 0.

    Args:
        scores: `(N, H, W)`, N at least 2.
        landmarks: `(N, L, 2)`, x and y in pixels from the centre of the first pixel, at least 3 of them.

    ValueError for a single image, and for landmarks that have no such transform (all on one line).
    """
    if len(scores) < 2:
        raise ValueError("the average of the other images' maps needs at least 2 images")
    frame = np.asarray(landmarks, dtype=float).mean(0)
    to_frame = [AffineTransform.from_estimate(points, frame) for points in landmarks]
    if not all(to_frame):
        raise ValueError(
            f"the landmarks of image {[bool(t) for t in to_frame].index(False)} fit no transform"
        )
    maps = scores.double().cpu().numpy()
    maps = maps / np.maximum(np.abs(maps).sum((1, 2), keepdims=True), 1e-30)
    # `warp` asks where a pixel of the result comes from.
    aligned = np.array([warp(m, t.inverse) for m, t in zip(maps, to_frame, strict=True)])
    others = (aligned.sum(0) - aligned) / (len(maps) - 1)
    back = np.array([warp(m, t) for m, t in zip(others, to_frame, strict=True)])
    return torch.from_numpy(back).float()
