"""Pretrainings that are trained already: public weights and files of the user's own."""

import dataclasses
import os

import numpy as np
import pytest
import torch
from stand_ins import torchvision_state, vgg_face_state, write
from tiny_study import tiny_study

from study import explorer, inversion, models, networks, planted, relevance, training, weights
from study import parameters as params
from study.provenance import file_hash
from study.settings import ParameterError
from study.weights import WeightsError

NARROW = {"classes": 6, "width": 1 / 16, "size": 32}
SOURCES = {"imagenet": "public:imagenet", "vggface": "public:vgg-face"}
FILES = {"imagenet": "vgg16.pth", "vggface": "vgg_face_dag.pth"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as the public ones are, but of narrow networks."""
    folder = tmp_path_factory.mktemp("weights")
    write(folder, **NARROW)
    return folder


@pytest.fixture(autouse=True)
def narrow(request, monkeypatch):
    """The registry as if the public networks were narrow; not where full-size ones are tested."""
    if request.node.get_closest_marker("book"):
        return
    folder = request.getfixturevalue("folder")
    entries = {name: dataclasses.replace(entry, **NARROW) for name, entry in weights.REGISTRY.items()}
    entries["imagenet"] = dataclasses.replace(entries["imagenet"], sha256=file_hash(folder / "vgg16.pth"))
    monkeypatch.setattr(weights, "REGISTRY", entries)


def of_files(root, folder, **changes):
    files = {"pretrainings": SOURCES, "weights_files": FILES, "scope": "classifier", "workers": 1}
    return tiny_study(root, folder, **files | changes)


def test_public_weights_are_pretrainings_like_others(root, folder):
    s = of_files(root, folder, evidence_people=20, evidence_samples=64)
    assert list(models.image_sets(s)) == ["faces"] and set(models.histories(s).stage) == {
        "gender",
        "identity",
    }
    assert set(inversion.accuracy(s).shown) == {"gender", "identity"}
    for label, state in (("imagenet", "vgg16.pth"), ("vggface", "vgg_face_dag.pth")):
        found = networks.pretrained(s, label, 0)["model"]
        original = weights.load(folder / state, SOURCES[label].partition(":")[2])
        assert all(torch.equal(a, b) for a, b in zip(found.parameters(), original.parameters(), strict=True))
        assert networks.layout(s, label)["sha256"] == file_hash(folder / state)
        trained = networks.network(s, next(c for c in s.grid if c.pretraining == label))
        assert torch.equal(trained.features[0].weight, original.features[0].weight)
        assert trained.architecture.dropout == s.p.dropout and trained.classifier[6].out_features in (2, 4)
    assert np.isfinite(relevance.maps(s).relevance.values).all()
    assert explorer.masks.grid(s, s.firsts).relevance.notnull().all()
    assert planted.network(s, planted.nets(s.p)[0]).architecture.classes == 2


def test_a_users_own_network_with_batch_norm(root, tmp_path):
    state = torchvision_state(9, 1 / 16, 32, batch_norm=True)
    torch.save(state, tmp_path / "mine.pth")
    for data, name in ((tmp_path, "mine.pth"), (None, str(tmp_path / "mine.pth"))):
        s = tiny_study(root, data, pretrainings={"mine": f"weights:{name}", "random": "none"}, workers=1)
        assert networks.pretrained(s, "mine", 0)["model"].architecture.batch_norm
        assert relevance.explain(s, s.grid[0]).sizes["image"] == 8


def test_features_are_computed_once_for_all_networks_that_share_them(root, folder, monkeypatch):
    s = of_files(root, folder, first_seed=40)
    cells = [cell for cell in s.grid if cell.family == "imagenet/gender"]
    assert len(cells) == 2
    predicted = []
    predict = training.predict
    monkeypatch.setattr(training, "predict", lambda *a, **k: predicted.append(a[0]) or predict(*a, **k))
    ends = [networks.stages(s, cell) for cell in cells]
    convolutions = [
        model for model in predicted if any(isinstance(m, torch.nn.Conv2d) for m in model.modules())
    ]
    assert len(convolutions) == 2, "training and validation images, once"
    # the same as with the whole network in the loop
    faces, labels = networks._learned(s, "gender")
    model = networks.vgg.new_classifier(networks.pretrained(s, "imagenet", 40)["model"], 2, cells[1].seed)
    settings = s.p.finetuning_samples["gender"], s.p.finetuning_rate, "classifier", cells[1].seed
    alone = networks.train(s.p, model, faces, labels, *settings)
    for a, b in zip(alone["model"].parameters(), ends[1]["stage 0"].parameters(), strict=True):
        assert torch.equal(a, b)
    assert alone["history"].validation_accuracy.tolist() == ends[1]["history"].validation_accuracy.tolist()


def test_another_file_gives_other_networks_and_is_told(tmp_path, capsys):
    write(tmp_path, **NARROW)
    weights.REGISTRY["imagenet"] = dataclasses.replace(weights.REGISTRY["imagenet"], sha256=None)
    first = of_files(tmp_path / "store", tmp_path)
    key = networks.pretrained.key(first, "vggface", 0)
    torch.save(vgg_face_state(**NARROW, seed=9), tmp_path / "vgg_face_dag.pth")
    assert not capsys.readouterr().err
    second = of_files(tmp_path / "store", tmp_path)
    said = capsys.readouterr().err
    assert "public:vgg-face" in said and "imagenet" not in said
    assert all(networks.layout(s, "vggface")["sha256"] in said for s in (first, second))
    assert networks.pretrained.key(second, "vggface", 0) != key
    of_files(tmp_path / "store", tmp_path)
    assert not capsys.readouterr().err


def nothing_but_checks(store):
    return not store.exists() or not [k for k in store.iterdir() if k.name != "networks.layout"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"image_size": 64},
            r"width=0\.0625, image_size=64: the network 'imagenet' \(public:imagenet\).*image_size=32",
        ),
        ({"width": 0.125}, r"width=0\.125.*has width=0\.0625"),
        ({"pretrainings": {"a": "public:vgg19"}, "weights_files": {}}, r"'public:vgg19'.*'public:imagenet'"),
        (
            {"pretrainings": {"a": "procedural:cars"}, "weights_files": {}},
            r"'procedural:cars': nothing is built in",
        ),
        ({"weights_files": {"faces": "x.pth"}}, r"weights_files: 'faces' is no pretraining from public"),
        (
            {"pretraining_runs": 3, "seeds": 6},
            r"pretraining_runs=3: 'imagenet' is one network.*pretraining_runs=1",
        ),
        ({"weights_files": FILES | {"imagenet": "absent.pth"}}, r"'absent\.pth': no such file"),
    ],
)
def test_what_does_not_fit_is_one_error_before_computing(tmp_path, folder, changes, said):
    with pytest.raises(ParameterError, match=said) as caught:
        of_files(tmp_path / "store", folder, **changes)
    assert len(str(caught.value)) < 400 and nothing_but_checks(tmp_path / "store")


def test_a_users_file_of_another_size_is_refused_before_computing(tmp_path, folder):
    with pytest.raises(
        ParameterError, match=r"image_size=64: the network 'mine' \(weights:vgg16.pth\).*image_size=32"
    ):
        tiny_study(tmp_path / "store", folder, pretrainings={"mine": "weights:vgg16.pth"}, image_size=64)
    assert nothing_but_checks(tmp_path / "store")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no weights", "has SHA-256"), (None, "could not download the weights 'imagenet'.*weights_files")],
    ids=["another file", "offline"],
)
def test_public_weights_that_cannot_be_had_are_told_before_computing(
    tmp_path, folder, monkeypatch, content, said
):
    monkeypatch.setattr(weights.pooch, "os_cache", lambda name: tmp_path / "cache")
    offline = dataclasses.replace(weights.REGISTRY["imagenet"], url="http://127.0.0.1:9/vgg16-397923af.pth")
    weights.REGISTRY["imagenet"] = offline
    changes = {"weights_files": {"vggface": str(folder / "vgg_face_dag.pth")}}
    if content:
        (tmp_path / "wrong.pth").write_bytes(content)
        changes["weights_files"] |= {"imagenet": "wrong.pth"}
    with pytest.raises(WeightsError, match=said):
        of_files(tmp_path / "store", tmp_path, **changes)
    assert nothing_but_checks(tmp_path / "store")


def test_device_is_what_the_machine_has(monkeypatch):
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert params.load("smoke", device="auto").device == device


@pytest.mark.skipif("FULL_SIZE" not in os.environ, reason="many minutes and 7 GB: set FULL_SIZE=1")
def test_full_size_files_are_read_and_finetuned(tmp_path, monkeypatch):
    write(tmp_path)
    entry = dataclasses.replace(weights.REGISTRY["imagenet"], sha256=file_hash(tmp_path / "vgg16.pth"))
    monkeypatch.setattr(weights, "REGISTRY", weights.REGISTRY | {"imagenet": entry})
    s = of_files(
        tmp_path / "store", tmp_path, width=1.0, image_size=224, batch_norm=False, explained_images=4
    )
    assert np.isfinite(relevance.explain(s, s.grid[0]).relevance.values).all()
