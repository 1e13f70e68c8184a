"""Random sequential networks and zennit's maps of them, for the tests of analysis.lrp."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks import peers

BOX = {"low": (-4.0, -5.0, -3.0), "high": (4.0, 3.5, 5.0)}


def random_network(seed: int, classes: int = 4) -> tuple[nn.Sequential, Tensor]:
    """A network in float64 with strides, groups, dilation, poolings of all kinds, and two images of both
    signs."""
    generator = torch.Generator().manual_seed(seed)

    def pick(*options):
        return options[int(torch.randint(len(options), (1,), generator=generator))]

    channels, size, layers = 3, pick(17, 20, 23), []
    for _ in range(pick(1, 2, 3, 4)):
        groups = pick(1, 1, channels)
        wider = groups * pick(1, 2) * (1 if groups > 1 else 4)
        kernel = pick(1, 2, 3, (3, 2), 5)
        reach = max(kernel) if isinstance(kernel, tuple) else kernel
        layers.append(
            nn.Conv2d(
                channels,
                wider,
                kernel,
                stride=pick(1, 1, 2, (2, 1)),
                padding=pick(0, 1, 2) if reach > 1 else 0,
                dilation=pick(1, 1, 2),
                groups=groups,
                bias=pick(True, True, False),
            )
        )
        channels = wider
        if pick(True, False, False):
            layers.append(_batch_norm(channels, generator))
        activation = [] if pick(True, False, False, False) else [nn.ReLU(inplace=pick(True, False))]
        pooling = pick(
            [],
            [nn.MaxPool2d(2)],
            [nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)],
            [nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=pick(True, False))],
            [nn.AvgPool2d(2, ceil_mode=True)],
        )
        layers += pick(activation + pooling, pooling + activation)
        network = nn.Sequential(*layers).eval()
        size_now = min(network(torch.zeros(1, 3, size, size)).shape[2:])
        if size_now < 9:
            break
    if pick(True, False):
        layers.append(nn.AdaptiveAvgPool2d(pick(1, 3, (2, 3), 4)))
    layers.append(nn.Flatten())
    features = nn.Sequential(*layers).eval()(torch.zeros(1, 3, size, size)).shape[1]
    for _ in range(pick(0, 1, 2)):
        layers += [nn.Linear(features, 12, bias=pick(True, False)), nn.ReLU(), nn.Dropout()]
        features = 12
    layers.append(nn.Linear(features, classes))
    network = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
    return network, torch.randn(2, 3, size, size, generator=generator, dtype=torch.float64)


def _batch_norm(channels: int, generator: torch.Generator) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.running_mean = torch.randn(channels, generator=generator)
    norm.running_var = torch.rand(channels, generator=generator) + 0.5
    return norm


def merged(network: nn.Module) -> nn.Module:
    """The network with batch normalisation merged by torch.

    zennit's own SequentialMergeBatchNorm leaves each normalisation's eps in place: outputs off by 5e-6.
    """
    if not isinstance(network, nn.Sequential):
        return network
    layers: list[nn.Module] = []
    for layer in network:
        layers.append(fuse_conv_bn_eval(layers.pop(), layer) if isinstance(layer, nn.BatchNorm2d) else layer)
    return nn.Sequential(*layers)


def zennit_map(network: nn.Module, images: Tensor, targets: Tensor, name: str) -> Tensor:
    """zennit's relevance under its composite of that name, started with the target's logit."""
    composite = peers.zennit_composite(name, BOX, images.dtype)
    return peers.zennit_map(merged(network), images, targets, composite)


def bounds(name: str) -> dict:
    return BOX if name == "epsilon_gamma_box" else {}
