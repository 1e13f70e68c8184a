"""Every ranking of pixels behind one call: LRP, other attribution methods, and the controls a map must beat."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from captum import attr
from skimage.filters import sobel
from torch import Tensor, nn

from analysis import lrp, masking
from analysis.inference import Labels

COMPOSITES = (*lrp.COMPOSITES, "epsilon_gamma_box")
# They tell what a change of the pixel would do, whichever way: their sign is no vote for or against the class, so they
# are read by their magnitude wherever maps are read.
UNSIGNED = ("gradient", "guided_backprop")
CONTROLS = ("random", "blobs", "centre", "least", "other_image", "average", "edges")
FROM_MAPS = ("blobs", "least", "other_image", "average")  # the other controls know nothing of the network
BATCH = 16  # images, or perturbed images, that go through the network at once
METHODS: dict[str, tuple[type, dict]] = {
    "gradient": (attr.Saliency, {"abs": False}),
    "input_x_gradient": (attr.InputXGradient, {}),
    "integrated_gradients": (attr.IntegratedGradients, {"n_steps": 32, "internal_batch_size": BATCH}),
    "guided_backprop": (attr.GuidedBackprop, {}),
    "occlusion": (attr.Occlusion, {}),
}

Bound = float | Sequence[float] | None


def reading(method: str, signed: str) -> str:
    """How a method's maps are ranked (see `masking.rank`): UNSIGNED ones by magnitude, all others as `signed` says."""
    return "absolute" if method in UNSIGNED else signed


def scores(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    names: Sequence[str],
    *,
    by: str,
    seed: int,
    composite: str = "epsilon_plus",
    own: Tensor | None = None,
    identities: Labels | None = None,
    untrained: nn.Module | None = None,
    low: Bound = None,
    high: Bound = None,
) -> dict[str, Tensor]:
    """What each of `names` ranks pixels by: scores `(N, H, W)` float32 on the CPU, higher is more important.

    Args:
        model: a network in evaluation mode.
        images: `(N, C, H, W)` as the network takes them; targets: `(N,)` the classes explained.
        names: of COMPOSITES, METHODS and CONTROLS; "relevance" (the model's own maps); "random_weights" (maps of the
            network `untrained`: Adebayo et al. 2018, arXiv:1810.03292).
        by: how relevance is read (see `masking.rank`); UNSIGNED methods are always read by magnitude.
        seed: of the controls.
        composite: the method of "relevance" and "random_weights".
        own: the model's maps `(N, H, W)` by `composite`, where they are known; else they are made when needed.
        identities: `(N,)` who is on the images, for "other_image".
        low, high: bounds of the network's input; see `attribute`.

    Controls are made from the model's own maps as these are read. Only "signed" maps and the control "blobs" have
    scores below 0. ValueError for an unknown name, for "random_weights" without `untrained`, and as in `attribute`
    and `control`.
    """

    def explained(network: nn.Module, method: str) -> Tensor:
        return attribute(network, images, targets, method, low=low, high=high)

    if own is None and {"relevance", composite, *FROM_MAPS} & set(names):
        own = explained(model, composite)
    shown, result = images.cpu(), {}
    for name in names:
        if name in CONTROLS:
            read = masking.rank(shown[:, 0] if own is None else own, reading(composite, by))
            result[name] = control(name, read, seed=seed, images=shown, identities=identities)
        elif name == "random_weights":
            if untrained is None:
                raise ValueError("'random_weights' needs the network `untrained`")
            result[name] = masking.rank(explained(untrained, composite), reading(composite, by))
        elif own is not None and name in ("relevance", composite):
            result[name] = masking.rank(own, reading(composite, by))
        else:
            result[name] = masking.rank(explained(model, name), reading(name, by))
    return result


# ------------------------------------------------------------ attribution methods


def attribute(
    model: nn.Module, images: Tensor, targets: Tensor, method: str, *, low: Bound = None, high: Bound = None
) -> Tensor:
    """Maps `(N, H, W)` float32 on the CPU, channels summed, of the target's logit.

    Args:
        model: a network in evaluation mode; it is left as it was.
        images: `(N, C, H, W)`; targets: `(N,)` classes, on the same device.
        method: one of COMPOSITES (LRP), or of METHODS: "gradient" (Simonyan et al. 2014, arXiv:1312.6034),
            "input_x_gradient" (Shrikumar et al. 2016, arXiv:1605.01713), "integrated_gradients" (Sundararajan et al.
            2017, arXiv:1703.01365, from 0 in 32 steps), "guided_backprop" (Springenberg et al. 2015, arXiv:1412.6806),
            "occlusion" (Zeiler & Fergus 2014, doi:10.1007/978-3-319-10590-1_53: drop of the logit while a square of
            an eighth of the height, moved by half of it, is 0).
        low, high: bounds of the network's input, numbers or one value per channel; only "epsilon_gamma_box" uses them.

    Only LRP's maps sum to the logit, less what biases and stabilisers took. ValueError for an unknown method, and for
    a network or targets that do not fit.
    """
    if method in METHODS:
        batches = zip(images.split(BATCH), targets.split(BATCH), strict=True)
        return torch.cat([_captum(model, x, t, method) for x, t in batches]).sum(1).float().cpu()
    if method not in COMPOSITES:
        raise ValueError(f"method {method!r} is unknown; choose from {', '.join((*COMPOSITES, *METHODS))}")
    low, high = (low, high) if method == "epsilon_gamma_box" else (None, None)
    maps = lrp.relevance(model, images, targets, method, low=low, high=high)
    return maps.sum(1).float().cpu()


def _captum(model: nn.Module, images: Tensor, targets: Tensor, method: str) -> Tensor:
    explainer, options = METHODS[method]
    if method == "occlusion":
        side, channels = max(1, images.shape[-2] // 8), images.shape[1]
        step = max(1, side // 2)
        options = {"sliding_window_shapes": (channels, side, side), "strides": (channels, step, step)}
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Setting backward hooks on ReLU"
        )  # guided backprop removes them again
        return explainer(model).attribute(images.clone().requires_grad_(), target=targets, **options).detach()


# ------------------------------------------------------------ controls


def control(
    name: str,
    scores: Tensor,
    *,
    seed: int,
    images: Tensor | None = None,
    identities: Labels | None = None,
) -> Tensor:
    """A ranking `(N, H, W)` float32 that relevance must beat, for the relevance `scores` `(N, H, W)` of N images.

    - `random`: every pixel at random.
    - `blobs`: a random field with the amplitude spectrum of the image's own map, hence its autocorrelation (phase
      randomisation: Theiler et al. 1992). As patchy as the map, but in random places.
    - `centre`: the nearer to the centre the better, 0 in the corners.
    - `least`: the least relevant pixels first.
    - `other_image`: another image's map, of another identity where `identities` `(N,)` are given.
    - `average`: the mean map of all other images (leave-one-out, each map scaled to unit absolute sum).
    - `edges`: the Sobel gradient magnitude of the mean over channels of `images` `(N, C, H, W)`.

    All on the CPU. ValueError for another name, "edges" without images, and a single image where others are needed.
    """
    scores = scores.float()
    noise = torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed))
    match name:
        case "random":
            return noise
        case "blobs":
            # Phases of a real noise image are Hermitian, so the result is real without losing amplitude anywhere.
            phases = torch.fft.rfft2(noise - 0.5)
            phases = phases / phases.abs().clamp(min=1e-12)
            return torch.fft.irfft2(torch.fft.rfft2(scores).abs() * phases, s=scores.shape[-2:])
        case "centre":
            y, x = (torch.arange(side) - (side - 1) / 2 for side in scores.shape[-2:])
            distance = y[:, None] ** 2 + x[None, :] ** 2
            return (distance.max() - distance).expand_as(scores)  # `masking.select` orders ties at random
        case "least":
            return -scores
        case "other_image":
            return scores[torch.from_numpy(derangement(len(scores), seed, identities))]
        case "average":
            if len(scores) < 2:
                raise ValueError("the average of the other images' maps needs at least 2 images")
            maps = scores.double()
            maps = maps / maps.abs().sum((1, 2), keepdim=True).clamp(min=1e-30)
            return ((maps.sum(0) - maps) / (len(maps) - 1)).float()
        case "edges":
            if images is None:
                raise ValueError("the control 'edges' needs the images")
            return torch.stack([torch.from_numpy(sobel(grey)) for grey in images.float().mean(1).numpy()])
    raise ValueError(f"unknown control {name!r}; choose one of {', '.join(CONTROLS)}")


def derangement(n: int, seed: int, identities: Labels | None = None) -> np.ndarray:
    """A random permutation `(n,)` int64 without fixed points, and if possible to another identity.

    Possible means that no identity has more than half of the items; otherwise as few as can be stay with their own.
    Grouping the items by identity and shifting by the largest group's size does both. ValueError for n < 2.
    """
    if n < 2:
        raise ValueError(f"another image's map needs at least 2 images, not {n}")
    rng = np.random.default_rng(seed)
    labels = np.arange(n) if identities is None else np.unique(np.asarray(identities), return_inverse=True)[1]
    sizes = np.bincount(labels)
    order = np.lexsort([rng.permutation(n), rng.permutation(len(sizes))[labels]])
    shift = sizes.max() if sizes.max() < n else 1
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, -shift)
    return partner
