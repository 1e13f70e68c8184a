"""Planted shortcuts: changes of an image that go with its class for no reason that lies in the face.

A network that relies on one is right for the wrong reason (a "Clever Hans": Lapuschkin et al. 2019,
doi:10.1038/s41467-019-08987-4). Every kind has two *sides*, which both change the image by as much: side 0 for
class 0 and side 1 for class 1 wherever image and class agree.
"""

from collections.abc import Callable

import numpy as np

TINT = 14  # grey levels added to red and taken from blue, or the other way round
MARK = (0.1, 0.9)  # the corner mark, dark or light, as a share of full brightness
STRIPES = 14  # grey levels by which stripes across or down the background differ from it


def agreeing(labels: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Which images `(N,)` bool carry the side of their own class: the share `strength` of each class.

    `round(strength * n)` of the n images of a class, drawn by `seed`; 0.5 makes side and class independent, 1 makes
    them the same. ValueError outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength!r}; it is a share of the images and must lie in 0..1")
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    agree = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        agree[members[: round(strength * len(members))]] = True
    return agree


def plant(pixels: np.ndarray, sides: np.ndarray, background: np.ndarray, kind: str) -> np.ndarray:
    """Images `(N, 3, H, W)` uint8 with a shortcut; every image's side is 0 or 1.

    - ``tint``: the whole image a little redder, or bluer.
    - ``mark``: a dark or a light square in the upper left corner, an eighth of the image wide.
    - ``background``: fine stripes across or down the background.

    `background` `(N, H, W)` bool is what is not head. ValueError for another kind, another side or shapes that do not
    fit.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown shortcut {kind!r}; choose one of {', '.join(KINDS)}")
    sides = np.asarray(sides)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(f"pixels must be uint8 (N, 3, H, W), not {pixels.dtype} {pixels.shape}")
    n, _, *frame = pixels.shape
    if background.shape != (n, *frame) or sides.shape != (n,):
        raise ValueError(
            f"background {background.shape} and sides {sides.shape} do not fit pixels {pixels.shape}"
        )
    if not np.isin(sides, (0, 1)).all():
        raise ValueError(f"sides must be 0 or 1, not {sides[~np.isin(sides, (0, 1))][0]}")
    planted = KINDS[kind](pixels.astype(np.float32), sides.astype(int), background)
    return planted.round().clip(0, 255).astype(np.uint8)


def region(background: np.ndarray, kind: str) -> np.ndarray:
    """Where to look for a shortcut, bool like `background` `(N, H, W)`.

    The mark's square, and the background for the stripes. A tint has no place; a network that reads it has no reason to
    prefer the head, so its region is the background as well.
    """
    if kind != "mark":
        return background.copy()
    corner = np.zeros_like(background)
    side = _side(background)
    corner[:, :side, :side] = True
    return corner


def _side(background: np.ndarray) -> int:
    return max(1, background.shape[-1] // 8)


def _tint(images: np.ndarray, sides: np.ndarray, background: np.ndarray) -> np.ndarray:
    warmer = (2.0 * sides - 1)[:, None, None] * TINT
    return images + np.stack([warmer, 0 * warmer, -warmer], 1)


def _mark(images: np.ndarray, sides: np.ndarray, background: np.ndarray) -> np.ndarray:
    side = _side(background)
    images[:, :, :side, :side] = 255 * np.take(MARK, sides)[:, None, None, None]
    return images


def _background(images: np.ndarray, sides: np.ndarray, background: np.ndarray) -> np.ndarray:
    y, x = np.indices(images.shape[2:])
    across, down = (np.where(at % 4 < 2, STRIPES, -STRIPES) for at in (y, x))
    stripes = np.where(sides[:, None, None] == 0, across, down)
    return images + (stripes * background)[:, None]


KINDS: dict[str, Callable[..., np.ndarray]] = {"tint": _tint, "mark": _mark, "background": _background}
