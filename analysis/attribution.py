"""Other attribution methods, from captum, behind the same call as `relevance`."""

from __future__ import annotations

import warnings

import torch
from captum import attr
from torch import Tensor, nn

METHODS = ("gradient", "input_x_gradient", "integrated_gradients", "guided_backprop", "occlusion")
# They tell what a change of the pixel would do, whichever way: their sign is no vote for or against the class, so they
# are read by their magnitude wherever maps are read.
UNSIGNED = ("gradient", "guided_backprop")


def reading(method: str, signed: str) -> str:
    """How a method's maps are ranked (see `masking.rank`): UNSIGNED ones by magnitude, all others as `signed` says."""
    return "absolute" if method in UNSIGNED else signed


def attribute(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    method: str,
    *,
    steps: int = 32,
    window: int | None = None,
    batch_size: int = 16,
) -> Tensor:
    """Attribution maps `(N, C, H, W)` of the target's logit for `images (N, C, H, W)` and `targets (N,)`.

    method: "gradient" (Simonyan et al. 2014, arXiv:1312.6034), "input_x_gradient" (Shrikumar et al. 2016,
        arXiv:1605.01713), "integrated_gradients" (Sundararajan et al. 2017, arXiv:1703.01365, from 0 in
        `steps` steps), "guided_backprop" (Springenberg et al. 2015, arXiv:1412.6806) or "occlusion" (Zeiler
        and Fergus 2014, doi:10.1007/978-3-319-10590-1_53: drop of the logit while a square of `window`
        pixels, by default an eighth of the image's height, moved by half of it, is 0).
    batch_size: images, or perturbed images, that go through the network at once.

    Unlike LRP's maps these need not sum to the logit. The model is used in evaluation mode and left as it
    was. ValueError for an unknown method and for images, targets or options out of range.
    """
    if method not in METHODS:
        raise ValueError(f"Method {method!r} is unknown; choose from {', '.join(METHODS)}.")
    if images.ndim != 4 or not len(images) or not images.isfinite().all():
        raise ValueError(
            f"images must be (N, C, H, W), N >= 1, with finite values, not {tuple(images.shape)}."
        )
    targets = torch.as_tensor(targets, device=images.device)
    if targets.shape != (len(images),) or targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(
            f"targets must be class indices ({len(images)},), not {targets.dtype} {tuple(targets.shape)}."
        )
    for name, value in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("window", 1 if window is None else window),
    ):
        if value < 1:
            raise ValueError(f"{name}={value}: give a number >= 1.")
    was_training = {module: module.training for module in model.modules()}
    had_gradients = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval().requires_grad_(False)
    try:
        return torch.cat(
            [
                _maps(model, x, t, method, steps, window, batch_size)
                for x, t in zip(images.split(batch_size), targets.split(batch_size), strict=True)
            ]
        )
    finally:
        for module, training in was_training.items():
            module.training = training
        for parameter, required in had_gradients.items():
            parameter.requires_grad_(required)


def _maps(
    model: nn.Module, x: Tensor, targets: Tensor, method: str, steps: int, window: int | None, batch_size: int
) -> Tensor:
    x = x.clone().requires_grad_()
    with torch.no_grad():
        classes = model(x[:1]).shape[-1]
    if targets.min() < 0 or targets.max() >= classes:
        raise ValueError(
            f"targets span {targets.min()} to {targets.max()}; the network has {classes} classes."
        )
    match method:
        case "gradient":
            maps = attr.Saliency(model).attribute(x, target=targets, abs=False)
        case "input_x_gradient":
            maps = attr.InputXGradient(model).attribute(x, target=targets)
        case "integrated_gradients":
            maps = attr.IntegratedGradients(model).attribute(
                x, target=targets, n_steps=steps, internal_batch_size=max(batch_size, len(x))
            )
        case "guided_backprop":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")  # it removes them again
                maps = attr.GuidedBackprop(model).attribute(x, target=targets)
        case "occlusion":
            side = window or max(1, x.shape[-2] // 8)
            stride = max(1, side // 2)
            channels = x.shape[1]
            maps = attr.Occlusion(model).attribute(
                x,
                target=targets,
                sliding_window_shapes=(channels, side, side),
                strides=(channels, stride, stride),
            )
    return maps.detach()
