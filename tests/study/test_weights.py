"""Public weights are those published, fitted to the network's input; what is saved comes back the same."""

import dataclasses
import hashlib
import http.server
import threading

import pytest
import safetensors.torch
import torch
from torch import nn

from study import weights
from study.provenance import file_hash
from study.vgg import normalise, vgg16
from study.weights import WeightsError, load, pretrained, save

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
    as_convolutions = state | {"fc6.weight": state["fc6.weight"][:, :, None, None]}
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
    for part in (entry.url, entry.sha256, "local_file"):
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


def test_pretrained_refuses_other_files(tmp_path):
    path = tmp_path / "vgg_face_dag.pth"
    path.write_bytes(b"no pickle")
    with pytest.raises(WeightsError, match="not a PyTorch file"):
        pretrained("vgg-face", path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list"):
        pretrained("vgg-face", path)
    torch.save(VGGFace().state_dict(), path)
    with pytest.raises(WeightsError, match="size mismatch"):
        pretrained("vgg-face", path)


@pytest.mark.slow
def test_pretrained_loads_full_size_weights(tmp_path, monkeypatch):
    model = vgg16(1000, seed=1)
    path = tmp_path / "vgg16.pth"
    torch.save(model.state_dict(), path)
    registry(monkeypatch, sha256=file_hash(path))
    found = pretrained("imagenet", path)
    assert not found.training
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), model.parameters(), strict=True))


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


def test_load_refuses_other_files(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match="no file"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="not a network"):
        load(path)
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not a network"):
        load(path)
    save(vgg16(5, **SMALL), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a network"):
        load(path)
