"""Public VGG-16 weights: where they are, how to check them, how to fit them to our network; save and load."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pooch
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from study.provenance import file_hash
from study.vgg import MEAN, STD, VGG16, Architecture, empty

# The mean colour (R, G, B in 0..255) subtracted from VGG-Face's input, from the network's published `meta`.
VGG_FACE_MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)


class WeightsError(ValueError):
    """Weights that cannot be obtained, are not what they should be, or do not fit the network."""


@dataclasses.dataclass(frozen=True)
class PublicWeights:
    """One entry of the registry. `sha256` is None where no checksum is published."""

    url: str
    sha256: str | None
    classes: int
    source: str
    vgg_face: bool = False


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

    Downloads go to the user's cache folder. VGG-Face has no published checksum: there only `pretrained`'s
    check of every name and shape stands between a wrong file and a wrong result, so record its `sha256`.
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
        actual = file_hash(path)
        if entry.sha256 and actual != entry.sha256:
            raise WeightsError(f"{path} has SHA-256 {actual}; the weights {name!r} have {expected}")
        return path
    try:
        file = pooch.retrieve(
            entry.url,
            known_hash=entry.sha256 and f"sha256:{entry.sha256}",
            fname=entry.url.rpartition("/")[2],
            path=pooch.os_cache("face-relevance"),
            progressbar=True,
        )
    # Offline, refused, timed out and corrupted are different exceptions of requests, urllib3 and pooch.
    except Exception as error:
        raise WeightsError(
            f"could not download the weights {name!r} from {entry.url} (SHA-256 {expected}): {error}. "
            "Download that file elsewhere and give its path as local_file."
        ) from error
    return Path(file)


def pretrained(name: str, local_file: str | Path | None = None) -> VGG16:
    """Full-size VGG-16 in evaluation mode with the public weights `name`; takes `normalise`d input.

    Raises WeightsError as `fetch` does, and when the file does not hold exactly the tensors of VGG-16.
    """
    path = fetch(name, local_file)
    entry = REGISTRY[name]
    try:
        # weights_only: a pickled file could otherwise run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path} is not a PyTorch file of tensors: {error}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not tensors by name")
    if entry.vgg_face:
        state = convert_vgg_face(state)
    return _load(empty(Architecture(entry.classes)), state, path)


def convert_vgg_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """VGG-Face's tensors (`conv1_1.weight` ... `fc8.bias`) under torchvision's names, for `normalise`d input.

    VGG-Face takes R, G, B in 0..255 less VGG_FACE_MEAN (the MatConvNet network and its conversion `vgg_face_dag`; the
    Caffe network takes B, G, R).
    With pixel p = 255 (STD x + MEAN) and weights w, w (p - mean) = (255 STD w) x + w (255 MEAN - mean): the
    first factor replaces conv1_1's weights, the second joins its bias. That is exact except that the ring
    of padding around the image is now ImageNet's mean colour, where VGG-Face has its own: 5 to 12 of 255
    grey levels away, one pixel wide.

    Raises WeightsError when tensors are missing or unknown.
    """
    names = {f"{name}.{kind}": f"{new}.{kind}" for name, new in _layers() for kind in ("weight", "bias")}
    missing, unknown = (
        ", ".join(sorted(x)) for x in (names.keys() - state.keys(), state.keys() - names.keys())
    )
    if missing or unknown:
        raise WeightsError(
            f"not VGG-Face: tensors missing: {missing or 'none'}; unknown: {unknown or 'none'}"
        )
    converted = {new: state[name].float() for name, new in names.items()}
    # Some conversions keep fc6 as the 7 x 7 convolution it is in Caffe.
    for name in ("classifier.0.weight", "classifier.3.weight", "classifier.6.weight"):
        converted[name] = converted[name].flatten(1)
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


def load(path: str | Path) -> VGG16:
    """The network that `save` wrote to `path`, in evaluation mode. Raises WeightsError for another file."""
    path = Path(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        architecture = Architecture(**json.loads(header["architecture"]))
        state = load_file(path)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file {path}") from error
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is not a network that `save` has written: {error!r}") from error
    return _load(empty(architecture), state, path)


def _layers() -> list[tuple[str, str]]:
    """VGG-Face's layer names with torchvision's."""
    convolutions = {"1_1": 0, "1_2": 2, "2_1": 5, "2_2": 7, "3_1": 10, "3_2": 12, "3_3": 14}
    convolutions |= {"4_1": 17, "4_2": 19, "4_3": 21, "5_1": 24, "5_2": 26, "5_3": 28}
    pairs = [(f"conv{name}", f"features.{position}") for name, position in convolutions.items()]
    return [*pairs, ("fc6", "classifier.0"), ("fc7", "classifier.3"), ("fc8", "classifier.6")]


def _load(model: VGG16, state: Mapping[str, Tensor], path: Path) -> VGG16:
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise WeightsError(f"the weights in {path} do not fit the network: {reason}") from error
    return model.eval()
