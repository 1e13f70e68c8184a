"""Public weights are those published, fitted to the network's input; what is saved comes back the same."""

import dataclasses
import hashlib
import http.server
import json
import math
import os
import pickle
import re
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
from stand_ins import torchvision_state, vgg_face_state
from torch import nn

from study import weights
from study.vgg import normalise, vgg16
from study.weights import WeightsError, load, save

SMALL = {"width": 1 / 16, "size": 32, "hidden": 24}
NAMES = [f"conv{block}_{i}" for block, n in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for i in range(1, n + 1)]


class VGGFace(nn.Module):
    """VGG-Face as published, but narrow: its own layer names, input 0..255 less the mean, padded with 0."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        channels = [3, 4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32]
        for name, before, after in zip(NAMES, channels[:-1], channels[1:], strict=True):
            self.add_module(name, nn.Conv2d(before, after, 3, padding=1))
        self.fc6, self.fc7, self.fc8 = nn.Linear(32, 24), nn.Linear(24, 24), nn.Linear(24, classes)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
            nn.init.normal_(parameter, 0, (2 / fan_in) ** 0.5, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in NAMES:
            x = self.get_submodule(name)(x).relu()
            if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"):
                x = nn.functional.max_pool2d(x, 2)
        return self.fc8(self.fc7(self.fc6(x.flatten(1)).relu()).relu())


def converted(state: dict):
    model = vgg16(6, **SMALL)
    model.load_state_dict(weights.convert_vgg_face(state))
    return model.eval()


def pixels(n: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(1)).float()


# With ImageNet's own mean the padding around the image agrees as well, and the fold is exact throughout.
IMAGENET_MEAN = tuple(255 * value for value in (0.485, 0.456, 0.406))


@torch.inference_mode()
def test_converted_vgg_face_gives_the_same_logits(monkeypatch):
    monkeypatch.setattr(weights, "VGG_FACE_MEAN", IMAGENET_MEAN)
    original = VGGFace().eval()
    expected = original(pixels() - torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
    ours = converted(original.state_dict())(normalise(pixels()))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert expected.std(0).min() > 0


@torch.inference_mode()
def test_vgg_faces_mean_is_exact_away_from_the_border():
    original = VGGFace().eval()
    expected = original.conv1_1(pixels() - torch.tensor(weights.VGG_FACE_MEAN).view(3, 1, 1))
    ours = converted(original.state_dict()).features[0](normalise(pixels()))
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(
        ours[inside], expected[inside], rtol=1e-4, atol=1e-4 * expected.abs().max().item()
    )


@torch.inference_mode()
def test_vgg_faces_mean_hardly_matters_at_the_border():
    original = VGGFace().eval()
    expected = original(pixels() - torch.tensor(weights.VGG_FACE_MEAN).view(3, 1, 1))
    ours = converted(original.state_dict())(normalise(pixels()))
    # At 32 pixels an eighth of the image touches the border; at 224 it is a fiftieth.
    assert (ours - expected).abs().max() < 0.05 * expected.abs().max()


def test_fully_connected_layers_stored_as_convolutions():
    state = VGGFace().state_dict()
    as_convolutions = state | {name: state[name][..., None, None] for name in ("fc6.weight", "fc8.weight")}
    for name, tensor in weights.convert_vgg_face(state).items():
        assert torch.equal(tensor, weights.convert_vgg_face(as_convolutions)[name])


def test_what_is_not_vgg_face_is_named():
    state = VGGFace().state_dict()
    state["conv9_9.weight"] = state.pop("conv3_2.weight")
    with pytest.raises(WeightsError, match=r"missing: conv3_2\.weight; unknown: conv9_9\.weight"):
        weights.convert_vgg_face(state)


def test_registry_is_well_formed():
    for name, entry in weights.REGISTRY.items():
        assert entry.url.startswith("https://"), name
        assert entry.sha256 is None or (len(entry.sha256) == 64 and int(entry.sha256, 16)), name
    # torch.hub's convention: the file name ends with the first eight digits of the checksum.
    imagenet = weights.REGISTRY["imagenet"]
    assert imagenet.url.endswith(f"-{imagenet.sha256[:8]}.pth")


def registry(monkeypatch, **changes):
    entry = dataclasses.replace(weights.REGISTRY["imagenet"], **changes)
    monkeypatch.setattr(weights, "REGISTRY", {"imagenet": entry})
    return entry


def test_offline_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(weights.pooch, "os_cache", lambda name: tmp_path)
    entry = registry(monkeypatch, url="http://127.0.0.1:9/vgg16-397923af.pth")
    with pytest.raises(WeightsError) as caught:
        weights.fetch("imagenet")
    for part in (entry.url, entry.sha256, "weights_files"):
        assert part in str(caught.value)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError, match="choose one of imagenet, vgg-face"):
        weights.fetch("vgg19")


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_download_is_verified_and_cached(monkeypatch, tmp_path, server):
    folder, address = server
    (folder / "file.pth").write_bytes(b"weights")
    monkeypatch.setattr(weights.pooch, "os_cache", lambda name: tmp_path / "cache")
    registry(monkeypatch, url=f"{address}/file.pth", sha256=hashlib.sha256(b"weights").hexdigest())
    assert weights.fetch("imagenet").read_bytes() == b"weights"
    (folder / "file.pth").unlink()
    assert weights.fetch("imagenet").read_bytes() == b"weights"


def test_corrupted_download_is_refused(monkeypatch, tmp_path, server):
    folder, address = server
    (folder / "file.pth").write_bytes(b"something else")
    monkeypatch.setattr(weights.pooch, "os_cache", lambda name: tmp_path / "cache")
    registry(monkeypatch, url=f"{address}/file.pth")
    with pytest.raises(WeightsError, match="hash"):
        weights.fetch("imagenet")
    assert not list((tmp_path / "cache").glob("file.pth"))


def test_local_file_is_checked(tmp_path):
    wrong = tmp_path / "vgg16.pth"
    wrong.write_bytes(b"not these")
    with pytest.raises(WeightsError) as caught:
        weights.fetch("imagenet", wrong)
    assert hashlib.sha256(b"not these").hexdigest() in str(caught.value)
    assert weights.REGISTRY["imagenet"].sha256 in str(caught.value)
    with pytest.raises(WeightsError, match="not a file"):
        weights.fetch("imagenet", tmp_path / "absent.pth")


def small(monkeypatch, name="vgg-face", **changes):
    """The registry's entry as for files of narrow networks."""
    sizes = {"classes": 6, "width": 1 / 16, "size": 32, "sha256": None}
    entry = dataclasses.replace(weights.REGISTRY[name], **sizes | changes)
    monkeypatch.setattr(weights, "REGISTRY", weights.REGISTRY | {name: entry})


NARROW = {"classes": 6, "width": 1 / 16, "size": 32}


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_torchvisions_layout_is_read_at_any_width(tmp_path, batch_norm, ending):
    state = torchvision_state(6, 1 / 16, 64, batch_norm=batch_norm, seed=3)
    path = tmp_path / f"mine.{ending}"
    (torch.save if ending == "pth" else safetensors.torch.save_file)(state, path)
    found = load(path)
    assert (
        not found.training
        and found.architecture == vgg16(6, width=1 / 16, size=64, batch_norm=batch_norm).architecture
    )
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in state.items())
    older = {name: tensor.double() for name, tensor in state.items() if "num_batches" not in name}
    torch.save(older, tmp_path / "older.pth")
    assert all(torch.equal(load(tmp_path / "older.pth").state_dict()[name], state[name]) for name in older)


def test_public_weights_are_read_as_what_they_are(tmp_path, monkeypatch):
    small(monkeypatch)
    torch.save(vgg_face_state(**NARROW, seed=4), tmp_path / "face.pth")
    expected, found = (
        torchvision_state(**NARROW, seed=4),
        load(tmp_path / "face.pth", "vgg-face").state_dict(),
    )
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-5)
    small(monkeypatch, classes=7)
    with pytest.raises(WeightsError, match=r"face\.pth holds .*classes=6.*'vgg-face' are .*classes=7"):
        load(tmp_path / "face.pth", "vgg-face")


class Runs:
    """A pickle that runs code when it is read."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def changed(state, **tensors):
    return state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


NAN = torch.full((64 // 16, 3, 3, 3), math.nan)
BAD = {
    "shape": (
        {"features__0__weight": torch.zeros(4, 1, 3, 3)},
        r"features\.0\.weight is 4 x 1 x 3 x 3 and should be 4 x 3",
    ),
    "missing": ({"features__0__weight": None}, r"missing: features\.0\.weight; unknown: none"),
    "unknown": ({"features__99__bias": torch.zeros(4)}, r"missing: none; unknown: features\.99\.bias"),
    "nan": ({"features__0__weight": NAN}, r"features\.0\.weight holds values that are NaN"),
    "infinite": (
        {"classifier__6__bias": torch.full((6,), math.inf)},
        r"classifier\.6\.bias holds values that are NaN or inf",
    ),
    "too large": (
        {"classifier__6__bias": torch.full((6,), 1e300, dtype=torch.float64)},
        r"classifier\.6\.bias holds values",
    ),
    "whole numbers": (
        {"features__0__bias": torch.zeros(4, dtype=torch.int64)},
        r"features\.0\.bias holds int64 numbers",
    ),
    "complex": (
        {"features__0__bias": torch.zeros(4, dtype=torch.complex64)},
        r"features\.0\.bias holds complex64",
    ),
    "sparse": ({"features__0__bias": torch.zeros(4).to_sparse()}, r"features\.0\.bias holds"),
    "no classes": ({"classifier__6__weight": torch.zeros(())}, r"classifier\.6\.weight is one number"),
    "no tensor": ({"features__0__bias": "text"}, "other things than tensors"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("of", ["torchvision", "vgg-face", "ours"])
def test_a_tensor_that_is_wrong_is_named(tmp_path, monkeypatch, what, of):
    changes, said = BAD[what]
    if of == "ours" and what in ("no tensor", "sparse"):
        pytest.skip("safetensors hold dense tensors alone")
    state = changed(torchvision_state(**NARROW), **changes)
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    path = tmp_path / ("bad.safetensors" if of == "ours" else "bad.pth")
    if of == "vgg-face":
        names = {new: name for name, new in weights._layers()}
        state = {
            ".".join((names.get(n.rpartition(".")[0], "conv9_9"), n.rpartition(".")[2])): t
            for n, t in state.items()
        }
        for new, name in (("features.0", "conv1_1"), ("classifier.6", "fc8"), ("features.99", "conv9_9")):
            said = said.replace(re.escape(new), name)
        small(monkeypatch)
    if of == "ours":
        header = {
            "architecture": json.dumps(dataclasses.asdict(vgg16(6, width=1 / 16, size=32).architecture))
        }
        safetensors.torch.save_file(state, path, header)
    else:
        torch.save(state, path)
    with pytest.raises(WeightsError, match=said) as caught:
        load(path, "vgg-face" if of == "vgg-face" else None)
    assert "bad." in str(caught.value) and len(str(caught.value)) < 500


def test_layers_kept_as_convolutions_of_another_order_are_refused():
    state = vgg_face_state(6, 1 / 16, 64)
    fc6 = state["fc6.weight"].unflatten(1, (32, 2, 2))
    assert weights.convert_vgg_face(state | {"fc6.weight": fc6})
    with pytest.raises(WeightsError, match=r"fc6\.weight is 256 x 2 x 2 x 32"):
        weights.convert_vgg_face(state | {"fc6.weight": fc6.permute(0, 2, 3, 1)})


def test_files_that_are_damaged_or_would_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, sound = tmp_path / "file.pth", tmp_path / "sound.pth"
    torch.save(torchvision_state(**NARROW), sound)
    whole = sound.read_bytes()
    for content in (b"", b"no weights", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"file\.pth is damaged, or no file of tensors; get the file"):
            load(path)
    for written in (Runs(), {"features.0.weight": Runs()}, vgg16(2, width=1 / 64, size=32)):
        torch.save(written, path)
        with pytest.raises(
            WeightsError, match=r"would run (posix\.system|study\.vgg\.VGG16), so it was not"
        ) as caught:
            load(path)
        assert "weights_only" not in str(caught.value) and caught.value.__suppress_context__
    path.write_bytes(pickle.dumps(Runs()))
    with pytest.raises(WeightsError, match=r"was not opened|damaged"):
        load(path)
    assert not Path("ran").exists()
    for written in ([1, 2], {"state_dict": torchvision_state(**NARROW)}, {1: torch.zeros(2)}):
        torch.save(written, path)
        with pytest.raises(WeightsError, match="other things than tensors by name; save the state dict"):
            load(path)
    with pytest.raises(WeightsError, match="no file"):
        load(tmp_path)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_saved_network_comes_back_the_same(tmp_path, batch_norm):
    model = vgg16(5, batch_norm=batch_norm, dropout=0.25, seed=2, **SMALL)
    model.to(memory_format=torch.channels_last)
    save(model, tmp_path / "model.safetensors")
    back = load(tmp_path / "model.safetensors")
    assert back.architecture == model.architecture
    for (name, a), b in zip(model.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_ours_that_are_damaged_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match="no file"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="damaged"):
        load(path)
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="unknown: a"):
        load(path)
    save(vgg16(5, **SMALL), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged"):
        load(path)
    for architecture in ('{"classes": "many"}', '{"classes": 5, "width": 1e999}', "[1]", "{"):
        safetensors.torch.save_file({"a": torch.zeros(2)}, path, {"architecture": architecture})
        with pytest.raises(WeightsError, match=r"damaged|describes no VGG-16"):
            load(path)
