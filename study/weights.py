"""VGG-16's weights in files: the public ones, a user's and ours. Every tensor is checked before it is used."""

import dataclasses
import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import pooch
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from study.provenance import file_hash
from study.vgg import HIDDEN, MEAN, STD, VGG16, Architecture, empty

# The mean colour (R, G, B in 0..255) subtracted from VGG-Face's input, from the network's published `meta`.
VGG_FACE_MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)


COUNTER = "num_batches_tracked"  # of batch norm: the one whole number among the tensors
AGAIN = "get the file from its source again, or name another one"


class WeightsError(ValueError):
    """Weights that cannot be obtained, are not what they should be, or do not fit the network."""


@dataclasses.dataclass(frozen=True)
class PublicWeights:
    """One entry of the registry. `sha256` is None where no checksum is published; `width`, `size` as in `vgg16`."""

    url: str
    sha256: str | None
    classes: int
    source: str
    vgg_face: bool = False
    width: float = 1.0
    size: int = 224


REGISTRY: Mapping[str, PublicWeights] = {
    "imagenet": PublicWeights(
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        classes=1000,
        source="torchvision VGG16_Weights.IMAGENET1K_V1 (BSD-3-Clause); Simonyan & Zisserman (2015)",
    ),
    "vgg-face": PublicWeights(
        url="https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn/vgg_face_dag.pth",
        sha256=None,
        classes=2622,
        source="Parkhi, Vedaldi & Zisserman (2015), converted by S. Albanie; non-commercial research only",
        vgg_face=True,
    ),
}


def fetch(name: str, local_file: str | Path | None = None) -> Path:
    """The file of the public weights `name`, from `local_file`, the cache or the network, checksum verified.

    Downloads go to `cached`. VGG-Face has no published checksum: there only `load`'s check of every tensor stands
    between a wrong file and a wrong result, so record its hash.
    Raises WeightsError naming URL, expected checksum and the local-file option when there is no network,
    and both checksums when they differ.
    """
    if name not in REGISTRY:
        raise WeightsError(f"there are no public weights {name!r}; choose one of {', '.join(REGISTRY)}")
    entry = REGISTRY[name]
    expected = entry.sha256 or "not published"
    if local_file is not None:
        path = Path(local_file)
        if not path.is_file():
            raise WeightsError(f"{path} is not a file; it should hold the weights from {entry.url}")
        if entry.sha256 and (actual := file_hash(path)) != entry.sha256:
            raise WeightsError(
                f"{path} has SHA-256 {actual}; the weights {name!r} have {expected}. Get them from {entry.url}, or "
                f"name other weights as what they are, 'weights:{path.name}'."
            )
        return path
    try:
        file = pooch.retrieve(
            entry.url,
            known_hash=entry.sha256 and f"sha256:{entry.sha256}",
            fname=cached(name).name,
            path=cached(name).parent,
            progressbar=True,
        )
    # Offline, refused, timed out and corrupted are different exceptions of requests, urllib3 and pooch.
    except Exception as error:
        raise WeightsError(
            f"could not download the weights {name!r} from {entry.url} (SHA-256 {expected}). Download that file "
            "elsewhere and name it in the parameter `weights_files`, {label of the pretraining: path}. "
            f"The reason was: {textwrap.shorten(str(error), 200)}"
        ) from None
    return Path(file)


def cached(name: str) -> Path:
    """Where the file of the public weights `name` lies once it was downloaded: the user's cache folder."""
    return Path(pooch.os_cache("face-relevance")) / REGISTRY[name].url.rpartition("/")[2]


def convert_vgg_face(state: Mapping[str, Tensor], path: Path = Path("vgg-face")) -> dict[str, Tensor]:
    """VGG-Face's tensors (`conv1_1.weight` ... `fc8.bias`) under torchvision's names, for `normalise`d input.

    VGG-Face takes R, G, B in 0..255 less VGG_FACE_MEAN (the MatConvNet network and its conversion `vgg_face_dag`; the
    Caffe network takes B, G, R).
    With pixel p = 255 (STD x + MEAN) and weights w, w (p - mean) = (255 STD w) x + w (255 MEAN - mean): the
    first factor replaces conv1_1's weights, the second joins its bias. That is exact except that the ring
    of padding around the image is now ImageNet's mean colour, where VGG-Face has its own: 5 to 12 of 255
    grey levels away, one pixel wide.

    Raises WeightsError as `load` does; nothing is converted that was not checked.
    """
    names = {f"{name}.{kind}": f"{new}.{kind}" for name, new in _layers() for kind in ("weight", "bias")}
    _same_names(state, names, path)
    converted = {new: state[name] for name, new in names.items()}
    # Some conversions keep fully connected layers as the convolutions they are in Caffe: fc6 of 7 x 7, others of 1 x 1.
    for name, below in (("0", "features.28"), ("3", "classifier.0"), ("6", "classifier.3")):
        weight = converted[f"classifier.{name}.weight"]
        if weight.ndim == 4 and weight.shape[1:2] == converted[f"{below}.bias"].shape:
            converted[f"classifier.{name}.weight"] = weight.flatten(1)
    _checked(converted, path, called={new: name for name, new in names.items()})
    converted = {name: tensor.float() for name, tensor in converted.items()}
    weight = converted["features.0.weight"]
    offset = 255 * torch.tensor(MEAN) - torch.tensor(VGG_FACE_MEAN)
    converted["features.0.weight"] = weight * 255 * torch.tensor(STD).view(3, 1, 1)
    converted["features.0.bias"] = converted["features.0.bias"] + torch.einsum("ochw,c->o", weight, offset)
    return converted


def save(model: VGG16, path: str | Path) -> None:
    """Write the weights to a safetensors file whose header says how to build the network around them."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = {"architecture": json.dumps(dataclasses.asdict(model.architecture))}
    save_file(tensors, path, metadata=header)


def load(path: str | Path, public: str | None = None) -> VGG16:
    """The network whose weights a file holds, in evaluation mode, for `normalise`d input.

    A `.safetensors` file, or one of PyTorch's that holds tensors and nothing else: what `save` wrote, a state dict in
    torchvision's layout with or without batch norm, of any width, or the file of the weights `public`.
    Raises WeightsError, naming file and tensor, for a file that is missing, damaged, would run code or is no VGG-16,
    and for tensors of another name, shape or kind and values that are not finite.
    """
    path = Path(path)
    state, architecture = _read(path)
    entry = REGISTRY[public] if public else None
    if entry and entry.vgg_face:
        state = convert_vgg_face(state, path)
    architecture = _checked(state, path, architecture)
    if entry:
        full = Architecture(entry.classes, entry.width, entry.size, max(1, round(HIDDEN * entry.width)))
        if architecture != full:
            raise WeightsError(f"{path} holds {architecture}, and the weights {public!r} are {full}; {AGAIN}")
    model = empty(architecture)
    # Counters of batch norm, which old files lack, do nothing.
    model.load_state_dict(dict(state), strict=False)
    return model.eval()


def _read(path: Path) -> tuple[Mapping[str, Tensor], Architecture | None]:
    """What a file holds, and how its header, if it has one, says to build the network; runs no code."""
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    header: Mapping[str, str] = {}
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                header, state = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        described = json.loads(header["architecture"]) if "architecture" in header else None
        architecture = Architecture(**described) if described else None
    # Damaged files fail in as many ways as there are formats. What PyTorch says of them advises to read unsafely.
    except Exception as error:
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{path} holds more than tensors and would run {code[1]}, so it was not opened; save the state dict "
                "of the network alone, or better as .safetensors"
            ) from None
        raise WeightsError(f"{path} is damaged, or no file of tensors; {AGAIN}") from None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise WeightsError(f"{path} holds other things than tensors by name; save the state dict alone")
    return state, architecture


def _checked(
    state: Mapping[str, Tensor],
    path: Path,
    architecture: Architecture | None = None,
    called: Mapping[str, str] = {},
) -> Architecture:
    """The architecture, by default that of torchvision's layout, to which every tensor was found to belong.

    `called`: what tensors are called in the file, where that is something else.
    """
    if architecture is None:
        _same_names(state, _names("features.1.weight" in state), path)
        first, full, last = (
            state[f"{n}.weight"].shape for n in ("features.0", "classifier.0", "classifier.6")
        )
        width = first[:1].numel() / 64
        side = math.isqrt(full[-1:].numel() // max(1, round(512 * width)))
        architecture = Architecture(
            last[:1].numel(), width, 32 * min(7, max(1, side)), full[:1].numel(), "features.1.weight" in state
        )
    try:
        with torch.device("meta"):
            expected = VGG16(architecture).state_dict()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise WeightsError(f"{path} describes no VGG-16: {architecture}; {AGAIN}") from None
    _same_names(state, expected, path)
    wrong = {
        called.get(name, name): said
        for name, tensor in state.items()
        if (said := _wrong(tensor, expected[name], name.endswith(COUNTER)))
    }
    if wrong:
        raise WeightsError(
            f"{path} does not fit the network: {_some(f'{k} {v}' for k, v in wrong.items())}; {AGAIN}"
        )
    return architecture


def _wrong(tensor: Tensor, expected: Tensor, counter: bool) -> str | None:
    """What is wrong with a tensor, if something is."""
    if tensor.shape != expected.shape:
        shapes = (" x ".join(map(str, shape)) or "one number" for shape in (tensor.shape, expected.shape))
        return "is {} and should be {}".format(*shapes)
    if tensor.layout != torch.strided or tensor.is_floating_point() == counter or tensor.is_complex():
        kind = "whole" if counter else "floating point"
        return f"holds {str(tensor.dtype).removeprefix('torch.')} numbers and should hold {kind} ones"
    if not counter and not tensor.float().isfinite().all():
        return "holds values that are NaN or infinite"
    return None


def _same_names(state: Mapping[str, Tensor], names: Iterable[str], path: Path) -> None:
    """Refuse tensors that are missing or unknown; counters of batch norm may be missing."""
    needed = [name for name in names if not name.endswith(COUNTER)]
    missing = _some(name for name in needed if name not in state)
    unknown = _some(name for name in state if name not in set(names))
    if missing or unknown:
        raise WeightsError(
            f"{path} is no such VGG-16: tensors missing: {missing or 'none'}; unknown: {unknown or 'none'}; {AGAIN}"
        )


def _names(batch_norm: bool) -> list[str]:
    """Names of the tensors of VGG-16 in torchvision's layout."""
    with torch.device("meta"):
        return list(VGG16(Architecture(2, 1 / 64, 32, 1, batch_norm)).state_dict())


def _some(words: Iterable[str], most: int = 3) -> str:
    words = list(words)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _layers() -> list[tuple[str, str]]:
    """VGG-Face's layer names with torchvision's."""
    convolutions = {"1_1": 0, "1_2": 2, "2_1": 5, "2_2": 7, "3_1": 10, "3_2": 12, "3_3": 14}
    convolutions |= {"4_1": 17, "4_2": 19, "4_3": 21, "5_1": 24, "5_2": 26, "5_3": 28}
    pairs = [(f"conv{name}", f"features.{position}") for name, position in convolutions.items()]
    return [*pairs, ("fc6", "classifier.0"), ("fc7", "classifier.3"), ("fc8", "classifier.6")]
