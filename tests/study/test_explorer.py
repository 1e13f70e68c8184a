"""The explorer shows each network what every network kept, and never one photograph."""

import numpy as np
import torch
from PIL import Image
from tiny_study import tiny_study

from study import explorer, networks, relevance, stimuli, vgg


def test_each_network_sees_what_every_network_kept(tiny):
    p, shown = tiny.p, explorer.explore(tiny)
    assert shown.sizes["face"] == min(p.explorer_faces, p.identities)
    assert set(shown.label.values) == {f"face {n + 1}" for n in range(shown.sizes["face"])}
    pixels = shown.sizes["y"] * shown.sizes["x"]
    for index, percent in enumerate(p.percents):
        held = (shown.level <= index).sum(("y", "x"))
        assert (held == round(percent / 100 * pixels)).all()
    source, judge = tiny.firsts[0], tiny.firsts[-1]
    rule, percent = p.explorer_composites[0], p.percents[-1]
    at = {"source": source.name, "composite": rule}
    keep = torch.from_numpy(shown.level.sel(at).values <= len(p.percents) - 1)[:, None]
    images, filling = (vgg.normalise(torch.from_numpy(shown[name].values)) for name in ("pixels", "filling"))
    with torch.inference_mode():
        said = networks.network(tiny, judge)(torch.where(keep, images, filling)).softmax(1).max(1)
    stored = shown.sel(at | {"model": judge.name, "mode": "keep", "percent": percent})
    np.testing.assert_allclose(stored.probability, said.values, atol=0.01)  # the filling is rounded to pixels
    maps = relevance.dataset(networks.network(tiny, source), images, None, rule).relevance
    np.testing.assert_allclose(shown.relevance.sel(at), maps, rtol=1e-4, atol=1e-6)
    faces = stimuli.explained(tiny).pixels.values
    assert all((faces == one).all((1, 2, 3)).any() for one in shown.pixels.values), "held out"


def test_the_truth_is_the_class_of_the_task(tiny):
    shown = explorer.explore(tiny)
    people = shown.truth.sel(model=shown.task == "identity")
    assert (people >= 0).all() and (people == people[0]).all()
    names = np.array(shown.attrs["classes"]["gender"])
    genders = shown.truth.sel(model=shown.task == "gender")
    assert all((names[row] == shown.gender.values).all() for row in genders.values)


def test_one_photograph_is_never_shown(tmp_path):
    rng = np.random.default_rng(0)
    for person in range(20):
        (tmp_path / "faces" / f"p{person}").mkdir(parents=True)
        for view in range(8):
            pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / f"p{person}" / f"{view}.png")
    rows = [f"p{n},{v}.png,{'female' if n < 14 else 'male'}" for n in range(20) for v in range(8)]
    (tmp_path / "gender.csv").write_text("\n".join(["identity,file,gender", *rows]) + "\n")
    changes = {
        "faces": "faces",
        "attribute_tables": ["gender.csv"],
        "tasks": ["identity"],
        "minimum_images": 8,
    }
    photographs = tiny_study(tmp_path / "store", tmp_path, **changes, explained_images=40)
    shown = explorer.chosen(photographs)
    assert list(shown.label.values) == ["mean of 14 people (female)"], "a mean of six could show who they are"
    assert (shown.person == -1).all()
    assert shown.pixels.values.std() < stimuli.explained(photographs).pixels.values.std() / 2


def test_nothing_is_shown_where_no_mean_is_of_enough_people(root, photographs):
    changes = {"faces": "people", "attribute_tables": ["genders.csv"], "minimum_images": 6, "crop": 36}
    shown = explorer.chosen(tiny_study(root, photographs, **changes))
    assert shown.sizes["face"] == 0
