"""What a face is made of (identity factors) and what an image of it adds (views).

An identity is a vector of named factors in standard units: each is normal with unit variance within a
gender, and `shift` is the male mean minus the female mean (Cohen's d, the shift being split evenly).
A view holds everything that differs between two images of one person. Identity i depends only on
(seed, i) and view v of identity i only on (seed, i, v), so asking for more never changes earlier ones.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Factor(NamedTuple):
    """One identity factor: the part it changes, Cohen's d (male minus female), meaning of a high value."""

    name: str
    part: str
    shift: float
    description: str


class View(NamedTuple):
    """One nuisance variable: mean, standard deviation, limits, unit and meaning."""

    name: str
    mean: float
    spread: float
    low: float
    high: float
    description: str


FACTORS: tuple[Factor, ...] = (
    Factor("face_width", "skin", 0.5, "wider head"),
    Factor("face_length", "skin", 0.3, "longer lower face"),
    Factor("cheek", "skin", -0.6, "fuller cheeks"),
    Factor("ear_size", "skin", 0.3, "larger ears"),
    Factor("neck_width", "skin", 1.1, "thicker neck"),
    Factor("skin_tone", "skin", 0.0, "lighter skin, over the natural range"),
    Factor("skin_warmth", "skin", 0.0, "yellower rather than pinker undertone"),
    Factor("freckles", "skin", 0.0, "more freckles (none below 0.5)"),
    Factor("mole", "skin", 0.0, "position of a mole (none between -0.6 and 0.6)"),
    Factor("age", "skin", 0.0, "deeper folds and lines"),
    Factor("jaw_width", "jaw", 1.3, "wider, squarer jaw"),
    Factor("chin_width", "jaw", 0.8, "broader chin"),
    Factor("chin_length", "jaw", 0.5, "longer chin"),
    Factor("beard", "jaw", 1.5, "denser beard (none below 0.6)"),
    Factor("beard_colour", "jaw", 0.0, "darker beard and moustache"),
    Factor("brow_thickness", "brows", 1.4, "thicker brows"),
    Factor("brow_height", "brows", -1.0, "brows further above the eyes"),
    Factor("brow_arch", "brows", -0.9, "more arched brows"),
    Factor("brow_angle", "brows", 0.0, "outer ends raised"),
    Factor("brow_spacing", "brows", 0.0, "brows further apart"),
    Factor("brow_colour", "brows", 0.3, "darker brows"),
    Factor("eye_size", "eyes", -0.9, "larger eyes"),
    Factor("eye_spacing", "eyes", 0.0, "eyes further apart"),
    Factor("eye_tilt", "eyes", -0.3, "outer corners raised"),
    Factor("eye_opening", "eyes", -0.3, "rounder eyes, higher upper lid"),
    Factor("eye_depth", "eyes", 0.8, "deeper sockets"),
    Factor("lashes", "eyes", -1.3, "darker lash line"),
    Factor("iris_colour", "eyes", 0.0, "from brown over green to blue"),
    Factor("glasses", "eyes", 0.0, "glasses (none below 1)"),
    Factor("nose_length", "nose", 0.4, "longer nose"),
    Factor("nose_width", "nose", 0.9, "wider nostrils and tip"),
    Factor("nose_bridge", "nose", 0.6, "wider, more prominent bridge"),
    Factor("mouth_width", "mouth", 0.3, "wider mouth"),
    Factor("mouth_height", "mouth", 0.0, "mouth closer to the nose"),
    Factor("lip_thickness", "mouth", -1.0, "fuller lips"),
    Factor("lip_bow", "mouth", -0.3, "stronger cupid's bow"),
    Factor("lip_colour", "mouth", -1.3, "redder lips"),
    Factor("moustache", "mouth", 1.3, "denser moustache (none below 0.7)"),
    Factor("hair_length", "hair", -1.5, "from cropped to below the shoulders"),
    Factor("hair_volume", "hair", -0.4, "more volume"),
    Factor("hair_lightness", "hair", 0.0, "from black over brown to blond"),
    Factor("hair_redness", "hair", 0.0, "redder hair"),
    Factor("hair_grey", "hair", 0.0, "greyer hair (none below 0.8)"),
    Factor("hair_curl", "hair", -0.2, "curlier hair"),
    Factor("hair_parting", "hair", 0.0, "parting further to the image's right"),
    Factor("hair_fringe", "hair", -0.5, "longer fringe"),
    Factor("hair_recession", "hair", 0.9, "receding temples"),
)

VIEWS: tuple[View, ...] = (
    View("yaw", 0.0, 12.0, -30.0, 30.0, "head turned to the image's right, degrees"),
    View("pitch", 0.0, 8.0, -20.0, 20.0, "head turned down, degrees"),
    View("roll", 0.0, 6.0, -18.0, 18.0, "head tilted clockwise, degrees"),
    View("scale", 1.0, 0.08, 0.75, 1.25, "size of the head, 1 = normal"),
    View("shift_x", 0.0, 0.08, -0.25, 0.25, "position to the right, half frames"),
    View("shift_y", 0.0, 0.07, -0.2, 0.2, "position downwards, half frames"),
    View("light_x", 0.0, 0.8, -1.6, 1.6, "light from the image's right, tangent"),
    View("light_y", -0.5, 0.35, -1.2, 0.4, "light from below, tangent"),
    View("light_contrast", 0.5, 0.2, 0.1, 0.9, "share of directed rather than ambient light"),
    View("light_warmth", 0.0, 1.0, -2.5, 2.5, "yellower rather than bluer light, standard units"),
    View("exposure", 0.0, 0.22, -0.6, 0.4, "brighter picture, natural log"),
    View("smile", 0.3, 0.4, -0.5, 1.2, "corners of the mouth raised"),
    View("mouth_open", -0.15, 0.3, 0.0, 0.8, "mouth opened"),
    View("brow_raise", 0.0, 0.6, -1.2, 1.5, "brows raised"),
    View("eye_closure", 0.0, 0.2, 0.0, 0.8, "eyelids closed, 1 = shut"),
    View("gaze_x", 0.0, 0.4, -1.0, 1.0, "gaze to the image's right"),
    View("gaze_y", 0.0, 0.25, -0.7, 0.7, "gaze downwards"),
    View("background_red", 0.5, 0.25, 0.05, 0.95, "background colour, 0 to 1"),
    View("background_green", 0.5, 0.22, 0.05, 0.95, "background colour, 0 to 1"),
    View("background_blue", 0.5, 0.25, 0.05, 0.95, "background colour, 0 to 1"),
    View("background_slope", 0.0, 0.2, -0.5, 0.5, "background brighter on one side"),
    View("background_angle", 0.0, 100.0, -180.0, 180.0, "direction of that side, degrees"),
    View("background_texture", 0.1, 0.1, 0.0, 0.35, "contrast of the background's pattern"),
    View("background_place", 0.0, 1.0, -3.0, 3.0, "which piece of the pattern is seen"),
    View("clothes_red", 0.4, 0.25, 0.03, 0.97, "colour of the clothes, 0 to 1"),
    View("clothes_green", 0.4, 0.22, 0.03, 0.97, "colour of the clothes, 0 to 1"),
    View("clothes_blue", 0.45, 0.25, 0.03, 0.97, "colour of the clothes, 0 to 1"),
    View("collar", 0.0, 1.0, -2.5, 2.5, "depth of the neckline, standard units"),
    View("blur", 0.25, 0.15, 0.0, 0.65, "blur, standard deviation in 64ths of the picture"),
    View("noise", 5.0, 3.0, 0.0, 14.0, "sensor noise, standard deviation in grey levels"),
    View("noise_seed", 0.0, 0.0, 0.0, 2.0**24 - 1, "which sample of sensor noise (a whole number)"),
)

FACTOR_NAMES = tuple(f.name for f in FACTORS)
VIEW_NAMES = tuple(v.name for v in VIEWS)
PARTS = ("background", "skin", "jaw", "brows", "eyes", "nose", "mouth", "hair")
PART_FACTORS: dict[str, tuple[str, ...]] = {
    part: tuple(f.name for f in FACTORS if f.part == part) for part in PARTS if part != "background"
}
# What goes together in people and pictures: a variable, an earlier one, and their correlation (within a gender).
CORRELATIONS: tuple[tuple[str, str, float], ...] = (
    ("moustache", "beard", 0.6),
    ("iris_colour", "skin_tone", 0.55),
    ("hair_lightness", "skin_tone", 0.6),
    ("brow_colour", "hair_lightness", -0.75),
    ("beard_colour", "hair_lightness", -0.75),
    ("hair_redness", "skin_tone", 0.3),
    ("hair_grey", "age", 0.6),
    ("background_green", "background_red", 0.8),
    ("background_blue", "background_green", 0.8),
    ("clothes_green", "clothes_red", 0.6),
    ("clothes_blue", "clothes_green", 0.6),
)


def sample_identities(
    identities: int,
    seed: int,
    *,
    first_identity: int = 0,
    evidence: Sequence[str] | None = None,
    shift: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Factors (identities, factor) float32 in standard units, and genders (identities,) str.

    `evidence` names the parts whose factors differ between the genders (default: all parts), so that
    `("brows",)` plants the gender in the brows alone; `shift` multiplies every Cohen's d. Identities
    2k and 2k+1 have opposite genders, in an order drawn from the seed. ValueError for an unknown part.
    """
    half = np.zeros(len(FACTORS))
    planted = _columns(PART_FACTORS if evidence is None else evidence)
    half[planted] = [shift * FACTORS[k].shift / 2 for k in planted]
    factors = np.empty((identities, len(FACTORS)), np.float32)
    male = np.empty(identities, bool)
    for row in range(identities):
        i = first_identity + row
        male[row] = (i + np.random.default_rng([seed, i // 2, 1]).integers(2)) % 2 == 1
        noise = _correlated(np.random.default_rng([seed, i, 2]), FACTOR_NAMES)
        factors[row] = noise + (half if male[row] else -half)
    return factors, np.where(male, "male", "female")


def sample_views(identities: int, views: int, seed: int, *, first_identity: int = 0) -> np.ndarray:
    """Nuisance variables (identities * views, view) float32, identity-major, in the units of VIEWS."""
    mean, spread, low, high = np.array([v[1:5] for v in VIEWS]).T
    seeded = VIEW_NAMES.index("noise_seed")
    table = np.empty((identities * views, len(VIEWS)), np.float32)
    for row in range(len(table)):
        rng = np.random.default_rng([seed, first_identity + row // views, row % views, 3])
        table[row] = np.clip(mean + spread * _correlated(rng, VIEW_NAMES), low, high)
        table[row, seeded] = rng.integers(2**24)
    return table


def _correlated(rng: np.random.Generator, names: tuple[str, ...]) -> np.ndarray:
    """Standard normal values of the named variables with CORRELATIONS between them."""
    values = rng.standard_normal(len(names))
    for name, other, r in CORRELATIONS:
        if name in names:
            k = names.index(name)
            values[k] = r * values[names.index(other)] + np.sqrt(1 - r * r) * values[k]
    return values


def swap_parts(factors: np.ndarray, donors: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """A copy of `factors` (row, factor) with the factors of `parts` taken from `donors` (same shape).

    Rendering both with the same views changes only what those parts cause. ValueError for an unknown part or
    shapes that differ.
    """
    if factors.shape != donors.shape:
        raise ValueError(
            f"factors and donors must have the same shape, got {factors.shape} and {donors.shape}"
        )
    swapped, columns = factors.copy(), _columns(parts)
    swapped[:, columns] = donors[:, columns]
    return swapped


def _columns(parts: Iterable[str]) -> list[int]:
    for part in parts:
        if part not in PART_FACTORS:
            raise ValueError(f"unknown part {part!r}; the parts with factors are {', '.join(PART_FACTORS)}")
    return [FACTOR_NAMES.index(name) for part in parts for name in PART_FACTORS[part]]
