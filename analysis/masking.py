"""Which pixels to keep or remove, what stands in for them, and what is then left of the decision.

A *score* is one number per pixel, `(N, H, W)`; higher means masked first. Relevance, other attribution methods and
controls all become scores (see `attribution.scores`), and from there on everything is treated alike.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

RANKINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda r: r,
    "positive": lambda r: r.clamp(min=0),
    "absolute": torch.abs,
}
MODES = ("keep", "remove")


def rank(relevance: Tensor, by: str = "signed") -> Tensor:
    """Relevance `(N, C, H, W)` or `(N, H, W)` -> scores `(N, H, W)` float32.

    Channels are summed first, so that the score is the pixel's share of the decision; then the signed value, its
    positive part or its magnitude is taken. ValueError for a `by` that is none of RANKINGS.
    """
    if by not in RANKINGS:
        raise ValueError(f"unknown ranking {by!r}; choose one of {', '.join(RANKINGS)}")
    return RANKINGS[by](relevance.sum(1) if relevance.ndim == 4 else relevance).float()


def count(percent: float, pixels: int) -> int:
    """Size of a mask of `percent`: `round(percent / 100 * pixels)`. ValueError outside 0..100."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must lie in 0..100, not {percent}")
    return round(percent / 100 * pixels)


def select(scores: Tensor, percent: float | Sequence[float], *, seed: int) -> Tensor:
    """The `percent` highest-scoring pixels of every image, as a bool mask.

    Scores `(N, H, W)`; one percent gives `(N, H, W)`, a sequence of P gives `(P, N, H, W)` from a single sort. Every
    image has exactly `count(percent, H * W)` pixels set. Equal scores are ordered at random by `seed`, because raster
    order would favour the top of the image (a positive-part ranking has thousands of ties at 0); the order is the same
    for every percent, so masks are nested. ValueError for another shape, NaN, or a percent outside 0..100.
    """
    if scores.ndim != 3:
        raise ValueError(f"scores must be (N, H, W), not {tuple(scores.shape)}")
    if torch.isnan(scores).any():
        bad = torch.isnan(scores).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"scores of {len(bad)} image(s) hold NaN (first: image {bad[0]}); recompute them")
    n, height, width = scores.shape
    pixels = height * width
    percents = [percent] if isinstance(percent, int | float) else list(percent)
    keys = _unique_keys(scores.reshape(n, pixels).float(), seed)
    ascending = keys.sort(dim=1).values
    masks = torch.zeros(len(percents), n, pixels, dtype=torch.bool, device=scores.device)
    for mask, k in zip(masks, [count(p, pixels) for p in percents], strict=True):
        if k:
            torch.ge(keys, ascending[:, pixels - k, None], out=mask)
    masks = masks.reshape(-1, n, height, width)
    return masks[0] if isinstance(percent, int | float) else masks


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


def apply(images: Tensor, mask: Tensor, mode: str, filling: Tensor) -> Tensor:
    """Images `(N, C, H, W)` with the masked pixels kept (all others filled) or removed (filled).

    `mask` is bool `(N, H, W)` or `(P, N, H, W)`, which gives `(P, N, C, H, W)`. The filling `(N, C, H, W)`, in the
    images' units, replaces a pixel in all channels or in none. ValueError for a `mode` that is none of MODES.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    mask = mask.unsqueeze(-3)
    return torch.where(mask, images, filling) if mode == "keep" else torch.where(mask, filling, images)


# ------------------------------------------------------------ fillings


def fillings(images: Tensor, kind: str, *, seed: int = 0, reference: Tensor | None = None) -> Tensor:
    """What stands in for a masked pixel: `(N, C, H, W)` like the images, in their units.

    - `mean`: the mean colour of `reference` (default: all the images), the same for every image. An image's own mean
      would leak its skin and hair colour to the network.
    - `blur`: a Gaussian blur with a standard deviation of an eighth of the width. Keeps the coarse layout.
    - `noise`: normal noise with the mean and standard deviation of each channel of `reference`, by `seed`.
    - `grey`: 0, which is mid-grey for images normalised by the mean of ImageNet.

    ValueError for another kind.
    """
    reference = images if reference is None else reference
    match kind:
        case "mean":
            return reference.mean((0, 2, 3), keepdim=True).expand_as(images).contiguous()
        case "blur":
            return _blur(images)
        case "noise":
            std, mean = torch.std_mean(reference, (0, 2, 3), keepdim=True)
            white = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
            return white * std + mean
        case "grey":
            return torch.zeros_like(images)
    raise ValueError(f"unknown filling {kind!r}; choose one of mean, blur, noise, grey")


def _blur(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    sigma = width / 8
    side = (
        2 * min(math.ceil(3 * sigma), height - 1, width - 1) + 1
    )  # reflection needs half of it below the side
    # One axis at a time: torchvision convolves with the whole square, at 224 pixels 85 times the work.
    return gaussian_blur(gaussian_blur(images, [side, 1], [sigma, sigma]), [1, side], [sigma, sigma])


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

    `predict` maps `(B, C, H, W)` to logits `(B, classes)`; `labels` `(N,)` are the classes whose fate is followed.
    Most-relevant-first; pass negated scores for least-relevant-first. Returns a dataset with dimensions `(mode,
    percent, image)`: `correct` (bool), `prediction` (int64), `logit` and `probability` (float32) of the label.
    With the model's own unmasked decisions for labels, `correct` shows whether these survive. ValueError as `select`.
    """
    masks = select(scores, list(percents), seed=seed)
    batches = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    logits = [
        torch.cat([predict(apply(images[b], mask[b], mode, filling[b])) for b in batches])
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


def area(curve: xr.DataArray) -> xr.DataArray:
    """Mean height of a curve over the logarithm of its percents, by trapezoids; of a single percent its height.

    Every doubling of the mask counts alike; over percents as they are, the step from 20 to 40 % would weigh eight times
    that from 2.5 to 5 %. Areas compare only over the same percents. ValueError for percents that are not above 0. After
    Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned", IEEE TNNLS 28(11), who
    average over percents.
    """
    curve = curve.sortby("percent").astype(float)
    percents = curve.percent.values
    if not (percents > 0).all():
        raise ValueError(
            f"an area over the logarithm of percents needs percents above 0, not {percents[0]:g}"
        )
    if len(percents) == 1:
        return curve.isel(percent=0, drop=True)
    steps = np.log(percents)
    return curve.assign_coords(percent=steps).integrate("percent") / (steps[-1] - steps[0])
