"""Files with the very layout of the public ones, and random weights."""

from pathlib import Path

import torch
from torch import Tensor

from study import weights
from study.vgg import MEAN, STD, vgg16


def torchvision_state(
    classes: int = 1000, width: float = 1.0, size: int = 224, **options
) -> dict[str, Tensor]:
    """A state dict as torchvision has it; at full size that of `public:imagenet`."""
    return vgg16(classes, width=width, size=size, **options).state_dict()


def vgg_face_state(classes: int = 2622, width: float = 1.0, size: int = 224, **options) -> dict[str, Tensor]:
    """A state dict as `public:vgg-face` has it, for R, G, B in 0..255 less its mean."""
    state = torchvision_state(classes, width, size, **options)
    weight = state["features.0.weight"] / (255 * torch.tensor(STD).view(3, 1, 1))
    offset = 255 * torch.tensor(MEAN) - torch.tensor(weights.VGG_FACE_MEAN)
    state |= {"features.0.weight": weight}
    state["features.0.bias"] = state["features.0.bias"] - torch.einsum("ochw,c->o", weight, offset)
    names = {new: name for name, new in weights._layers()}
    return {f"{names[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": tensor for n, tensor in state.items()}


def write(folder: Path, **options) -> tuple[Path, Path]:
    """Stand-ins for the two public files, `vgg16.pth` and `vgg_face_dag.pth`; half a gigabyte each at full size."""
    paths = folder / "vgg16.pth", folder / "vgg_face_dag.pth"
    torch.save(torchvision_state(seed=1, **options), paths[0])
    torch.save(vgg_face_state(seed=2, **options), paths[1])
    return paths
