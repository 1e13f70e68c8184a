"""Which pixels to keep or remove, by what ranking, filled with what; and the rankings a map must beat.

A *score* is one number per pixel, ``(N, H, W)``; higher means masked first. Relevance, its rivals
(`controls`) and maps from elsewhere all become scores, and from there on everything is treated alike.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

RANKINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda r: r,
    "positive": lambda r: r.clamp(min=0),
    "absolute": torch.abs,
}
MODES = ("keep", "remove")


def rank(relevance: Tensor, by: str = "signed") -> Tensor:
    """Relevance `(N, C, H, W)` or `(N, H, W)` -> scores `(N, H, W)` float32.

    Channels are summed first, so that the score is the pixel's share of the decision; then the signed value,
    its positive part or its absolute value is taken. ValueError for another `by` or another number of
    dimensions.
    """
    if by not in RANKINGS:
        raise ValueError(f"unknown ranking {by!r}; choose one of {', '.join(RANKINGS)}")
    if relevance.ndim not in (3, 4):
        raise ValueError(f"relevance must be (N, C, H, W) or (N, H, W), not {tuple(relevance.shape)}")
    pixels = relevance.sum(1) if relevance.ndim == 4 else relevance
    return RANKINGS[by](pixels).float()


def count(percent: float, pixels: int) -> int:
    """Size of a mask of `percent`: `round(percent / 100 * pixels)`. ValueError outside 0..100."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must lie in 0..100, not {percent}")
    return round(percent / 100 * pixels)


def select(scores: Tensor, percent: float | Sequence[float], *, seed: int) -> Tensor:
    """The `percent` highest-scoring pixels of every image, as a bool mask.

    Scores `(N, H, W)`; one percent gives `(N, H, W)`, a sequence of P gives `(P, N, H, W)` from a single
    sort. Every image has exactly `count(percent, H * W)` pixels set. Equal scores are ordered at random by
    `seed`, because raster order would favour the top of the image (a positive-part ranking has thousands of
    ties at 0); the order is the same for every percent, so masks are nested. ValueError for NaN or a percent
    outside 0..100.
    """
    _check_scores(scores)
    n, height, width = scores.shape
    pixels = height * width
    percents = [percent] if isinstance(percent, Real) else list(percent)
    counts = [count(p, pixels) for p in percents]
    keys = _unique_keys(scores.reshape(n, pixels).float(), seed)
    ascending = keys.sort(dim=1).values
    masks = torch.zeros(len(counts), n, pixels, dtype=torch.bool, device=scores.device)
    for mask, k in zip(masks, counts, strict=True):
        if k:
            torch.ge(keys, ascending[:, pixels - k, None], out=mask)
    masks = masks.reshape(-1, n, height, width)
    return masks[0] if isinstance(percent, Real) else masks


def _unique_keys(scores: Tensor, seed: int) -> Tensor:
    """int64 keys `(N, P)` that sort like the float32 scores, unique in each row: score | random | index."""
    pixels = scores.shape[1]
    index_bits = max(1, (pixels - 1).bit_length())
    # Adding 0 turns -0.0 into 0.0; flipping the magnitude bits of negatives makes float order integer order.
    bits = (scores + 0.0).view(torch.int32)
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 2 ** (32 - index_bits), scores.shape, generator=generator).to(scores.device)
    index = torch.arange(pixels, device=scores.device)
    return (ordered << 32) | (noise << index_bits) | index


def _check_scores(scores: Tensor) -> None:
    if scores.ndim != 3:
        raise ValueError(
            f"scores must be (N, H, W), not {tuple(scores.shape)}; use rank() to sum the channels"
        )
    if torch.isnan(scores).any():
        bad = torch.isnan(scores).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"scores of {len(bad)} image(s) hold NaN (first: image {bad[0]}); recompute them")


def apply(images: Tensor, mask: Tensor, mode: str, filling: Tensor) -> Tensor:
    """Images `(N, C, H, W)` with the masked pixels kept (all others filled) or removed (filled).

    `mask` is bool `(N, H, W)` or `(P, N, H, W)`, which gives `(P, N, C, H, W)`. The filling replaces a pixel
    in all channels or in none. `filling` is `(N, C, H, W)` in the same units as the images.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool, not {mask.dtype}; use select()")
    if filling.shape != images.shape:
        raise ValueError(f"filling {tuple(filling.shape)} must have the images' shape {tuple(images.shape)}")
    mask = mask.unsqueeze(-3)
    return torch.where(mask, images, filling) if mode == "keep" else torch.where(mask, filling, images)


# ------------------------------------------------------------ fillings


def fillings(
    images: Tensor,
    kind: str = "mean",
    *,
    seed: int = 0,
    reference: Tensor | None = None,
    constant: float = 0.0,
    sigma: float | None = None,
) -> Tensor:
    """What stands in for a masked pixel: `(N, C, H, W)` like the images, in their units.

    - ``mean``: the mean colour of `reference` (default: all the images), the same for every image. An image's
      own mean would leak its skin and hair colour to the network.
    - ``blur``: a Gaussian blur with `sigma` in pixels (default: an eighth of the width). Keeps the coarse
      layout.
    - ``noise``: normal noise with the mean and standard deviation of each channel of `reference`, by `seed`.
    - ``grey``: `constant` everywhere. The default 0 is mid-grey for images normalised by the ImageNet mean;
      pass 0.5 for images in 0..1.
    """
    if kind not in FILLINGS:
        raise ValueError(f"unknown filling {kind!r}; choose one of {', '.join(FILLINGS)}")
    reference = images if reference is None else reference
    return FILLINGS[kind](images, seed=seed, reference=reference, constant=constant, sigma=sigma)


def _mean(images: Tensor, *, reference: Tensor, **_) -> Tensor:
    return reference.mean((0, 2, 3), keepdim=True).expand_as(images).contiguous()


def _blur(images: Tensor, *, sigma: float | None, **_) -> Tensor:
    height, width = images.shape[-2:]
    sigma = width / 8 if sigma is None else sigma
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    radius = min(math.ceil(3 * sigma), height - 1, width - 1)  # reflection needs radius < side
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype)
    planes = images.flatten(0, 1).unsqueeze(1)
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
    return planes.view_as(images)


def _noise(images: Tensor, *, seed: int, reference: Tensor, **_) -> Tensor:
    std, mean = torch.std_mean(reference, (0, 2, 3), keepdim=True)
    white = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
    return white * std + mean


def _grey(images: Tensor, *, constant: float, **_) -> Tensor:
    return torch.full_like(images, constant)


FILLINGS: dict[str, Callable[..., Tensor]] = {"mean": _mean, "blur": _blur, "noise": _noise, "grey": _grey}


# ------------------------------------------------------------ controls


def controls(
    name: str,
    scores: Tensor,
    *,
    seed: int,
    images: Tensor | None = None,
    identities: Sequence[str] | None = None,
) -> Tensor:
    """A rival `(N, H, W)` float32 to the relevance `scores` `(N, H, W)` of the same images.

    - ``random``: every pixel at random.
    - ``blobs``: a random field with the amplitude spectrum of the image's own map, hence its autocorrelation
      (phase randomisation: Theiler et al. 1992). As patchy as the map, but in random places.
    - ``centre``: the nearer to the centre the better; equal distances at random.
    - ``least``: the least relevant pixels first.
    - ``other_image``: another image's map, of another identity where `identities` are given.
    - ``average``: the mean map of all other images (leave-one-out, each map scaled to unit absolute sum).
    - ``edges``: the Sobel gradient magnitude of the image's grey values; needs `images` `(N, C, H, W)`.

    Maps from a model with random weights need no entry: rank its relevance. ValueError for an unknown name.
    """
    if name not in CONTROLS:
        raise ValueError(f"unknown control {name!r}; choose one of {', '.join(CONTROLS)}")
    _check_scores(scores)
    return CONTROLS[name](scores.float(), seed=seed, images=images, identities=identities)


def _random(scores: Tensor, *, seed: int, **_) -> Tensor:
    return torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed)).to(scores.device)


def _blobs(scores: Tensor, *, seed: int, **_) -> Tensor:
    # Phases of a real noise image are Hermitian, so the result is real without losing amplitude anywhere.
    phases = torch.fft.rfft2(_random(scores, seed=seed) - 0.5)
    phases = phases / phases.abs().clamp(min=1e-12)
    return torch.fft.irfft2(torch.fft.rfft2(scores).abs() * phases, s=scores.shape[-2:])


def _centre(scores: Tensor, **_) -> Tensor:
    y, x = (torch.arange(side, device=scores.device) - (side - 1) / 2 for side in scores.shape[-2:])
    return -(y[:, None] ** 2 + x[None, :] ** 2).expand_as(scores)  # select() orders ties at random


def _least(scores: Tensor, **_) -> Tensor:
    return -scores


def _other_image(scores: Tensor, *, seed: int, identities: Sequence[str] | None, **_) -> Tensor:
    return scores[torch.from_numpy(derangement(len(scores), seed, identities)).to(scores.device)]


def _average(scores: Tensor, **_) -> Tensor:
    if len(scores) < 2:
        raise ValueError("the average of the other images' maps needs at least 2 images")
    maps = scores.double()
    maps = maps / maps.abs().sum((1, 2), keepdim=True).clamp(min=1e-30)
    return ((maps.sum(0) - maps) / (len(maps) - 1)).float()


def _edges(scores: Tensor, *, images: Tensor | None, **_) -> Tensor:
    if images is None:
        raise ValueError("the control 'edges' needs the images")
    sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], device=images.device)
    grey = F.pad(images.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    gradient = F.conv2d(grey, torch.stack([sobel, sobel.T]).unsqueeze(1))
    return gradient.square().sum(1).sqrt()


CONTROLS: dict[str, Callable[..., Tensor]] = {
    "random": _random,
    "blobs": _blobs,
    "centre": _centre,
    "least": _least,
    "other_image": _other_image,
    "average": _average,
    "edges": _edges,
}


def derangement(n: int, seed: int, identities: Sequence[str] | None = None) -> np.ndarray:
    """A random permutation `(n,)` without fixed points, and if possible to another identity.

    Possible means that no identity has more than half of the items; otherwise as few as can be stay with
    their own. Grouping the items by identity and shifting by the largest group's size does both.
    """
    if n < 2:
        raise ValueError(f"another image's map needs at least 2 images, not {n}")
    rng = np.random.default_rng(seed)
    labels = np.arange(n) if identities is None else np.unique(np.asarray(identities), return_inverse=True)[1]
    if len(labels) != n:
        raise ValueError(f"{len(labels)} identities for {n} images")
    sizes = np.bincount(labels)
    order = np.lexsort([rng.permutation(n), rng.permutation(len(sizes))[labels]])
    shift = sizes.max() if sizes.max() < n else 1
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, -shift)
    return partner


# ------------------------------------------------------------ curves


@torch.no_grad()
def curves(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    scores: Tensor,
    percents: Sequence[float],
    *,
    filling: Tensor,
    labels: Tensor,
    seed: int,
    modes: Sequence[str] = MODES,
    batch_size: int = 256,
) -> xr.Dataset:
    """What is left of the decision when the top `percents` of the pixels are kept, or removed.

    `predict` maps `(B, C, H, W)` to logits `(B, classes)`; `labels` `(N,)` are the classes whose fate is
    followed. Most-relevant-first; pass negated scores for least-relevant-first. Returns a dataset with
    dimensions `(mode, percent, image)`: `correct` (bool), `prediction` (int64), `logit` and `probability`
    (float32) of the label. `prediction` shows whether the model's own unmasked decision survives. `area`
    needs 0 and 100 among the percents (untouched and fully filled).
    """
    if not len(images) == len(scores) == len(labels):
        raise ValueError(
            f"{len(images)} images, {len(scores)} score maps and {len(labels)} labels must match"
        )
    masks = select(scores, list(percents), seed=seed)
    logits = [
        torch.cat(
            [predict(apply(images[b], mask[b], mode, filling[b])) for b in _batches(len(images), batch_size)]
        )
        for mode in modes
        for mask in masks
    ]
    logits = torch.stack(logits).unflatten(0, (len(modes), len(masks))).float()
    index = labels.to(logits.device).view(1, 1, -1, 1).expand(*logits.shape[:3], 1)
    prediction = logits.argmax(-1)
    values = {
        "correct": prediction == index[..., 0],
        "prediction": prediction,
        "logit": logits.gather(-1, index)[..., 0],
        "probability": logits.softmax(-1).gather(-1, index)[..., 0],
    }
    return xr.Dataset(
        {name: (("mode", "percent", "image"), value.cpu().numpy()) for name, value in values.items()},
        coords={"mode": list(modes), "percent": np.asarray(percents, dtype=float)},
    )


def _batches(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def area(curve: xr.DataArray, low: float = 0.0, high: float = 100.0) -> xr.DataArray:
    """Mean height of a curve between two of its percents, by trapezoids; over the whole range, its area / 100.

    ValueError unless the curve has a value at both ends, because areas over different ranges do not compare.
    Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned", IEEE TNNLS
    28(11).
    """
    curve = curve.sortby("percent").astype(float)
    if not low < high or not {low, high} <= set(curve.percent.values.tolist()):
        percents = ", ".join(f"{value:g}" for value in curve.percent.values)
        raise ValueError(f"an area needs the percents {low:g} and {high:g}; this curve has {percents}")
    return curve.sel(percent=slice(low, high)).integrate("percent") / (high - low)


def symmetric_gain(most: xr.DataArray, least: xr.DataArray) -> xr.DataArray:
    """Area between the curves of most- and least-relevant-first masking; positive when the ranking is right.

    Keeping relevant pixels should help and removing them should hurt, so the sign is turned for `remove`. A
    filling that helps or hurts by itself moves both curves alike and cancels. Blücher, Vielhaben & Strodthoff
    2024, "Decoupling pixel flipping and occlusion strategy for consistent XAI benchmarks", TMLR (symmetric
    relevance gain).
    """
    sign = xr.where(most["mode"] == "keep", 1, -1)
    return sign * (area(most) - area(least))
