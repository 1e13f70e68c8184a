"""VGG-16, exactly as torchvision has it, and narrower or smaller-input versions of the same topology.

Simonyan & Zisserman (2015), "Very deep convolutional networks for large-scale image recognition",
configuration D; module names, initialisation and outputs as in `torchvision.vgg.vgg16` and `vgg16_bn`.
"""

import copy
import dataclasses

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.vgg import cfgs, make_layers

# Inputs of the linear layers at full size: the first has 512 channels of 7 x 7, the others 4096 units.
FLATTENED = 512 * 7 * 7
HIDDEN = 4096
AT_ONCE = 2**20  # pixels that go through a network at a time
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What it takes to build a VGG-16 of the same shape; see `vgg16`."""

    classes: int
    width: float = 1.0
    size: int = 224
    hidden: int = HIDDEN
    batch_norm: bool = False
    dropout: float = 0.5


class VGG16(nn.Module):
    """VGG-16: `features` (13 convolutions), `avgpool`, `classifier` (3 linear layers).

    Build one with `vgg16`, which also initialises it. Input `(N, 3, size, size)` float32 as `normalise`
    gives it; output `(N, classes)` float32 logits. `architecture` says how it was built.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        layers = [c if c == "M" else max(1, round(c * architecture.width)) for c in cfgs["D"]]
        channels = layers[-2]
        self.features = make_layers(layers, architecture.batch_norm)
        for layer in self.features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # explanations read what went in
        side = min(7, architecture.size // 32)
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Linear(channels * side * side, architecture.hidden),
            nn.ReLU(),
            nn.Dropout(architecture.dropout),
            nn.Linear(architecture.hidden, architecture.hidden),
            nn.ReLU(),
            nn.Dropout(architecture.dropout),
            nn.Linear(architecture.hidden, architecture.classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


def normalise(pixels: Tensor) -> Tensor:
    """`pixels` `(N, 3, H, W)` or `(3, H, W)`, R, G, B in 0..255, uint8 or float, to float32 network input.

    Subtracts ImageNet's mean colour and divides by its standard deviation, as torchvision's weights expect.
    Raises ValueError for another shape, for values outside 0..255 and for values that are not finite.
    """
    if pixels.ndim not in (3, 4) or pixels.shape[-3] != 3:
        raise ValueError(f"pixels have shape {tuple(pixels.shape)}; expected (N, 3, H, W) or (3, H, W)")
    if pixels.dtype != torch.uint8:
        if not pixels.is_floating_point():
            raise ValueError(f"pixels are {pixels.dtype}; expected uint8 or float values in 0..255")
        if pixels.numel() and not (pixels.min() >= 0 and pixels.max() <= 255):
            raise ValueError("pixels hold values outside 0..255 or not finite; were they normalised already?")
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=pixels.device).view(3, 1, 1) * 255
    return (pixels.float() - mean) / std


def portions(images: Tensor, most: int = 256) -> tuple[Tensor, ...]:
    """`images (N, ...)` in parts of at most `most`, of fewer large ones: no layer of a full-size one fills 0.3 GB."""
    pixels = images.shape[-2:].numel() if images.ndim == 4 else 1
    return images.split(max(1, min(most, AT_ONCE // pixels)))


def bounds(composite: str) -> dict[str, list[float]]:
    """Keyword arguments `low` and `high`, the range of network input by channel, for composites that need it."""
    if not composite.endswith("box"):
        return {}
    ends = normalise(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))[..., 0, 0]
    return {"low": ends[0].tolist(), "high": ends[1].tolist()}


def vgg16(
    classes: int,
    *,
    width: float = 1.0,
    size: int = 224,
    hidden: int | None = None,
    batch_norm: bool = False,
    dropout: float = 0.5,
    seed: int = 0,
) -> VGG16:
    """A freshly initialised VGG-16 in training mode; the same arguments give the same weights.

    `width` multiplies the channels, and `hidden` (units of the two hidden linear layers, 4096 * width
    unless told). `size` is the side of the square input in pixels, at least 32; 224 is torchvision's.
    Initial weights as torchvision's: convolutions Kaiming normal over fan-out (He et al. 2015), biases 0,
    linear layers normal with standard deviation 0.01, or more where a smaller network gives them fewer
    inputs, so that the signal passes as strongly as at full size.
    """
    hidden = max(1, round(HIDDEN * width)) if hidden is None else hidden
    model = empty(Architecture(classes, width, size, hidden, batch_norm, dropout))
    generator = torch.Generator().manual_seed(seed)
    for layer in sequential(model):
        _initialise(layer, generator, FLATTENED if layer is model.classifier[0] else HIDDEN)
    return model.train()


def empty(architecture: Architecture) -> VGG16:
    """A VGG16 whose weights are allocated but not set, for the caller to fill. Draws no random numbers."""
    with torch.device("meta"):
        model = VGG16(architecture)
    return model.to_empty(device="cpu")


def merge_batch_norm(model: VGG16) -> VGG16:
    """A new network in evaluation mode with each batch norm folded into the convolution before it.

    Its outputs are those of `model.eval()` up to rounding. Without batch norm it is a plain copy.
    """
    merged = empty(dataclasses.replace(model.architecture, batch_norm=False))
    fused: list[nn.Module] = []
    for layer in copy.deepcopy(model.features).eval():
        if isinstance(layer, nn.BatchNorm2d):
            fused[-1] = fuse_conv_bn_eval(fused[-1], layer)
        else:
            fused.append(layer)
    merged.features.load_state_dict(nn.Sequential(*fused).state_dict())
    merged.classifier.load_state_dict(model.classifier.state_dict())
    return merged.eval()


def sequential(model: VGG16) -> nn.Sequential:
    """The same network, sharing the weights, as one flat list: features, avgpool, flatten, classifier."""
    return nn.Sequential(*model.features, model.avgpool, nn.Flatten(), *model.classifier).train(
        model.training
    )


def new_classifier(model: VGG16, classes: int, seed: int) -> VGG16:
    """A copy of `model` whose three linear layers are fresh, for `classes` classes; all else is as it was."""
    result = empty(dataclasses.replace(model.architecture, classes=classes))
    result.features.load_state_dict(model.features.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for layer in result.classifier:
        _initialise(layer, generator, FLATTENED if layer is result.classifier[0] else HIDDEN)
    return result.train(model.training)


def randomise(model: VGG16, seed: int) -> VGG16:
    """A network of the same shape that has learned nothing: the control of Adebayo et al. (2018).

    Each layer's weights are drawn from a normal distribution with mean 0 and the root mean square of that
    layer's weights in `model`; biases are 0, so that the input alone decides which units are active.
    Raises ValueError for a network with batch norm: merge it first.
    """
    if model.architecture.batch_norm:
        raise ValueError("the network has batch norm, whose statistics fit its weights; merge it first")
    generator = torch.Generator().manual_seed(seed)
    random = empty(model.architecture)
    with torch.no_grad():
        for drawn, learned in zip(random.parameters(), model.parameters(), strict=True):
            if learned.ndim == 1:
                drawn.zero_()
            else:
                drawn.normal_(0, learned.square().mean().sqrt().item(), generator=generator)
    return random.eval()


def _initialise(layer: nn.Module, generator: torch.Generator, full_inputs: int = HIDDEN) -> None:
    """Fresh weights; `full_inputs` is how many inputs a linear layer has in the full-size network."""
    match layer:
        case nn.Conv2d():
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        case nn.BatchNorm2d():
            layer.reset_parameters()
        case nn.Linear():
            deviation = 0.01 * (full_inputs / layer.in_features) ** 0.5
            nn.init.normal_(layer.weight, 0, deviation, generator=generator)
            nn.init.zeros_(layer.bias)
