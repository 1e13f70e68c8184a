"""The study on tiny networks: who sees which images, what is stored, what a change recomputes."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image

import faces
from analysis import masking
from report import summaries
from study import Study, claims, exchange, explorer, maps, networks, vgg, weights
from study import parameters as params
from study.parameters import ParameterError
from study.store import content_digest

TINY = {
    "identities": 4,
    "rated_identities": 4,
    "views": 8,
    "gender_people": 12,
    "gender_views": 2,
    "pretraining_classes": 3,
    "pretraining_views": 4,
    "pretraining_samples": 64,
    "finetuning_samples": {"gender": 64, "identity": 64},
    "explained_images": 8,
    "percents": [10.0, 50.0],
    "transfer_percents": [20.0],
    "resamples": 100,
    "permutations": 100,
}


def study(root, **changes):
    return Study(params.load("smoke", changes.pop("data", None), **TINY | changes), root)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def tiny(root):
    return study(root)


def results(root):
    return {path.parent.relative_to(root) for path in root.glob("*/*/provenance.json")}


def test_people_of_the_gender_test_are_in_no_training(tiny):
    people = tiny.faces()
    frame = pd.DataFrame({name: people[name].values for name in ("identity", "gender", "group", "split")})
    tested = set(frame.query("group == 'gender' and split == 'test'").identity)
    assert tested and not tested & set(frame.query("split != 'test'").identity)
    assert not tested & set(frame.query("group == 'identity'").identity)
    assert set(frame.query("group == 'gender' and split == 'test'").gender) == {"female", "male"}
    identity = frame.query("group == 'identity'").groupby("identity").split.unique()
    assert all(set(splits) == {"train", "validation", "test"} for splits in identity)


def test_every_network_is_explained_on_the_same_unseen_images(tiny):
    explained = tiny.explained()
    assert set(explained.split.values) == {"test"} and set(explained.group.values) == {"identity"}
    counts = pd.Series(explained.identity.values).value_counts()
    assert len(counts) == 4 and counts.max() - counts.min() <= 1


def test_relevance_is_readable_by_xarray_alone(tiny):
    path = tiny.relevance().attrs["store_path"]
    maps = xr.open_zarr(f"{path}/data.zarr").load()
    assert maps.relevance.dims == ("model", "image", "y", "x")
    assert maps.relevance.shape == (8, 8, 32, 32) and np.isfinite(maps.relevance.values).all()
    assert {"pretraining", "task", "seed"} <= set(maps.model.coords)
    assert {"identity", "gender", "split"} <= set(maps.image.coords)
    assert {"logit", "prediction", "target"} <= set(maps)
    assert maps.relevance.attrs["units"] == "logit" and maps.relevance.attrs["long_name"]
    assert "seeds" in maps.attrs["provenance"]
    assert (maps.prediction == maps.target).all()


def test_exported_maps_are_the_stored_ones(tiny, tmp_path):
    for _ in range(2):
        tiny.export_relevance(tmp_path / "relevance.zarr")
    exported = xr.open_zarr(tmp_path / "relevance.zarr").load()
    xr.testing.assert_equal(exported, tiny.relevance().load())


def test_maps_balance_with_the_logit(tiny):
    maps = tiny.relevance().load()
    total = maps.relevance.sum(("y", "x")) + maps.biases + maps.stabilisers
    np.testing.assert_allclose(total.values, maps.logit.values, rtol=1e-3, atol=1e-4)
    assert (abs(maps.biases) > 0).any()


@pytest.mark.parametrize("source", ["procedural:faces", "none"])
def test_networks_have_the_architecture_of_the_parameters(root, source):
    one = study(root, pretrainings={"faces": source}, dropout=0.35, width=0.125)
    for folder in (
        networks.pretrain(one.parameters, one.store, "faces", 0),
        networks.finetune(one.parameters, one.store, one.grid[0]),
    ):
        model = weights.load(folder / networks.WEIGHTS)
        assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.35}
        assert any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
        assert model.classifier[0].out_features == 4096 // 8


def test_curves_start_and_end_alike_for_every_ranking(tiny):
    curves = tiny.curves()
    performance = tiny.performance(curves)
    for mode, percent in itertools.product(("keep", "remove"), (0.0, 100.0)):
        ends = performance.sel(mode=mode, percent=percent)
        assert (ends == ends.isel(ranking=0)).all()
    whole = performance.sel(mode="keep", percent=100.0)
    np.testing.assert_allclose(whole, performance.sel(mode="remove", percent=0.0), atol=1e-6)


def test_own_masks_agree_between_masking_and_transfer(root):
    same = study(root, percents=[20.0, 50.0])
    own = same.performance(same.curves()).sel(ranking="relevance", mode="keep", percent=20.0)
    transfer = same.performance(same.transfer()).sel(mode="keep", percent=20.0)
    for cell in same.grid:
        mine = [i for i, name in enumerate(own.model.values) if name == cell.name]
        np.testing.assert_allclose(
            own.isel(model=mine).values, transfer.isel(model=mine).sel(ranking=cell.name).values, atol=1e-5
        )


def test_consensus_leaves_the_family_out(tiny):
    assert {"consensus", "own", "average", "random", "blobs", "centre"} <= set(
        tiny.consensus().ranking.values
    )


def test_all_claims_have_a_verdict(tiny):
    ledger = claims.ledger(tiny)
    assert [record["id"] for record in ledger] == [f"C{k}" for k in range(1, 9)]
    needed = {"id", "statement", "statistic", "estimate", "ci_low", "ci_high", "p", "n", "verdict", "section"}
    for record in ledger:
        assert needed <= set(record)
        assert record["verdict"] in {"supported", "contradicted", "inconclusive"}


def test_a_change_recomputes_only_what_it_affects(tiny, root):
    tiny.curves()
    before = results(root)
    blurred = study(root, fill="blur")
    blurred.curves()
    new = results(root) - before
    assert {path.parts[0] for path in new} == {"curves"} and len(new) == len(blurred.grid)
    before = results(root)
    more = study(root, seeds=3)
    more.relevance()
    kinds = [path.parts[0] for path in results(root) - before]
    assert kinds.count("network") == 4 and kinds.count("relevance") == 4 and "pretrained" not in kinds


@pytest.mark.slow
def test_same_parameters_same_content_elsewhere_and_in_parallel(tiny, tmp_path):
    again = study(tmp_path, workers=2)
    assert content_digest(again.relevance().load()) == content_digest(tiny.relevance().load())
    assert content_digest(again.curves().load()) == content_digest(tiny.curves().load())


def test_seeds_differ_in_weights(tiny):
    first, second = (tiny.network(cell).state_dict() for cell in tiny.grid[:2])
    assert not np.allclose(first["classifier.6.weight"], second["classifier.6.weight"])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder as a user would have one: people, things, genders and ratings."""
    folder = tmp_path_factory.mktemp("photographs")
    drawn = faces.make_faces(14, 8, 40, seed=5)
    rows = []
    for k, (who, gender) in enumerate(zip(drawn.identity.values, drawn.gender.values, strict=True)):
        if int(who[-2:]) >= 4 and k % 8 >= 2:
            continue  # four people with many images, ten with two
        path = folder / "people" / who / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.pixels.values[k].transpose(1, 2, 0)).save(path)
        rows.append({"identity": who, "file": path.name, "gender": gender})
    pd.DataFrame(rows).to_csv(folder / "genders.csv", index=False)
    for name, things in (
        ("things", faces.make_objects(6, 40, 0, 3)),
        ("others", faces.make_faces(3, 6, 40, 99)),
    ):
        for k, label in enumerate(things.identity.values):
            path = folder / name / str(label) / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(things.pixels.values[k].transpose(1, 2, 0)).save(path)
    rated = sorted({row["identity"] for row in rows})[:6]
    pairs = [
        {"one": f"{a}.jpg", "two": f"{b}.jpg", "far": 1 + k % 5}
        for k, (a, b) in enumerate(itertools.combinations(rated, 2))
    ]
    pd.DataFrame(pairs).to_csv(folder / "ratings.csv", index=False)
    names = [{"stimulus": f"{name}.jpg", "identity": name} for name in rated]
    pd.DataFrame(names).to_csv(folder / "names.csv", index=False)
    return folder


def mine(root, folder, **changes):
    own = {
        "faces": "people",
        "gender_table": "genders.csv",
        "pretrainings": {"things": "things", "others": "others"},
        "minimum_images": 6,
        "crop": 36,
        "ratings": ["ratings.csv"],
        "ratings_columns": ["one", "two", "far"],
        "ratings_names": "names.csv",
    }
    return study(root, data=folder, **own | changes)


def test_photographs_from_folders_of_the_users_own(root, photographs):
    ours = mine(root, photographs)
    groups = pd.Series(ours.faces().group.values).value_counts()
    assert groups["identity"] == 32 and groups["rated"] == 4 and groups["gender"] == 16
    found = ours.agreement()
    assert found["people"] == 6 and found["pairs"] == 15 and not found["simulated"]
    assert {record["verdict"] for record in claims.ledger(ours)} <= {
        "supported",
        "contradicted",
        "inconclusive",
    }


def test_missing_folder_and_too_few_images_are_named(root, photographs):
    with pytest.raises(ParameterError, match="'nobody': no such file or folder"):
        mine(root, photographs, faces="nobody").faces()
    with pytest.raises(ParameterError, match=r"minimum_images=9: only 0 people"):
        mine(root, photographs, minimum_images=9).faces()
    with pytest.raises(ParameterError, match="gender_table: needed"):
        mine(root, photographs, gender_table=None).faces()


def test_the_explorer_shows_each_network_what_every_network_kept(tiny):
    p, found = tiny.parameters, tiny.explorer()
    assert found.sizes["face"] == min(p.explorer_faces, p.identities)
    assert set(found.label.values) == {f"face {n + 1}" for n in range(found.sizes["face"])}
    pixels = found.sizes["y"] * found.sizes["x"]
    for index, percent in enumerate(p.percents):
        held = (found.level <= index).sum(("y", "x"))
        assert (held == round(percent / 100 * pixels)).all()
    source, judge = tiny.grid[0], tiny.grid[-1]
    rule, percent = p.explorer_composites[0], p.percents[-1]
    at = {"source": source.name, "composite": rule}
    keep = torch.from_numpy(found.level.sel(at).values <= len(p.percents) - 1)[:, None]
    images = vgg.normalise(torch.from_numpy(found.pixels.values))
    filling = vgg.normalise(torch.from_numpy(found.filling.values))
    with torch.inference_mode():
        said = tiny.network(judge)(torch.where(keep, images, filling)).softmax(1).max(1)
    stored = found.sel(at | {"model": judge.name, "mode": "keep", "percent": percent})
    np.testing.assert_allclose(stored.probability, said.values, atol=0.01)  # the filling is rounded to pixels
    faces = tiny.explained()
    own = maps.relevance_of(
        tiny.network(source), images, None, p.model_copy(update={"composite": rule})
    ).relevance
    np.testing.assert_allclose(found.relevance.sel(at), own, rtol=1e-4, atol=1e-6)
    assert all((faces.pixels.values == one).all((1, 2, 3)).any() for one in found.pixels.values), "held out"
    people = found.truth.sel(model=found.task == "identity")
    assert (people >= 0).all() and (people == people[0]).all()


def test_the_explorer_never_shows_one_photograph(tmp_path):
    rng = np.random.default_rng(0)
    for person in range(20):
        (tmp_path / "faces" / f"p{person}").mkdir(parents=True)
        for view in range(8):
            pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / f"p{person}" / f"{view}.png")
    rows = [f"p{n},{v}.png,{'female' if n < 14 else 'male'}" for n in range(20) for v in range(8)]
    (tmp_path / "gender.csv").write_text("\n".join(["identity,file,gender", *rows]) + "\n")
    changes = {"faces": "faces", "gender_table": "gender.csv", "minimum_images": 8, "maximum_images": 8}
    photographs = study(tmp_path / "store", data=tmp_path, **changes, explained_images=40)
    found = explorer.chosen(photographs.parameters, photographs.store)
    assert list(found.label.values) == ["mean of 14 people (female)"], "a mean of six could show who they are"
    assert (found.person == -1).all()
    assert found.pixels.values.std() < photographs.explained().pixels.values.std() / 2


def test_intervals_of_shares_stay_between_0_and_1(tiny):
    accuracy = summaries.accuracy(tiny)
    curves = summaries.curves(tiny, tiny.curves(), ["relevance"])
    for table in (accuracy, curves):
        assert table.low.between(0, 1).all() and table.high.between(0, 1).all()
        assert (table.high > table.low).any()


def test_kept_pixels_differ_by_as_much_as_they_gain_and_lose(tiny):
    a, b = "objects/gender", "faces/identity"
    there, back = summaries.kept_parts(tiny, a, b), summaries.kept_parts(tiny, b, a)
    assert set(there.part) == set(tiny.explained().attrs["parts"])
    assert there.difference.sum() == pytest.approx(0, abs=1e-9)  # every kept pixel lies in one part
    np.testing.assert_allclose(there.difference, -back.difference, atol=1e-12)


def test_leads_are_the_differences_between_curves(tiny):
    found, values = summaries.leads(tiny), tiny.performance(tiny.curves())
    row = found.query("mode == 'remove' and control == 'centre' and percent == 50").iloc[0]
    at = values.sel(mode="remove", percent=50).mean(("model", "image"))
    assert row.lead == pytest.approx(float(at.sel(ranking="centre") - at.sel(ranking="relevance")), abs=1e-6)
    assert len(found) == 2 * len(tiny.parameters.percents) * len(claims.CONTROLS)


def test_coverage_in_words():
    rates = pd.DataFrame({"rate": [0.95, 0.8, 0.97], "case": ["a", "b", "c"]})
    assert (
        summaries.coverage_verdict(rates) == "2 of 3 settings lie within 93 to 97 %; the lowest is 80.0 % (b)"
    )


def test_leads_in_words():
    rows = [
        ("keep", 5.0, "edges", 0.1, 0.2),
        ("keep", 70.0, "edges", -0.3, -0.1),
        ("remove", 5.0, "edges", -0.1, 0.1),
    ]
    found = pd.DataFrame(rows, columns=["mode", "percent", "control", "low", "high"]).assign(lead=0.0)
    text = summaries.leads_verdict(found)
    assert "to keep, relevance is ahead of every control at 5 %, and behind “edges” at 70 %" in text
    assert "to remove, relevance is ahead of every control at no percent, and behind none" in text


def test_scattered_pixels_have_more_borders(tiny, monkeypatch):
    maps = xr.zeros_like(tiny.relevance().load())
    size = maps.sizes["x"]
    chessboard = np.indices((size, size)).sum(0) % 2  # half of all pixels, none side by side
    maps["relevance"][:] = chessboard
    monkeypatch.setattr(tiny, "relevance", lambda: maps)
    assert summaries.borders(tiny)["relevance"] == 1
    maps["relevance"][:] = np.arange(size)[:, None] < size // 2
    assert summaries.borders(tiny)["relevance"] == pytest.approx(2 / size)


def test_exchanged_parts_turn_with_the_direction(root):
    tiny, (a, b) = study(root, measure="accuracy"), ("objects/gender", "faces/identity")
    there, back = summaries.exchanged_parts(tiny, a, b), summaries.exchanged_parts(tiny, b, a)
    assert list(there.part) == ["the whole face", *tiny.explained().attrs["parts"]]
    np.testing.assert_allclose(there.difference, -back.difference, atol=1e-12)
    np.testing.assert_allclose(there.low, -back.high, atol=1e-12)
    clear = there.assign(low=[-1.0, 0.1] + [-1.0] * (len(there) - 2), high=1.0)
    assert f"Apart from zero: {there.part[1]} " in summaries.exchange_verdict(clear)
    assert summaries.exchange_verdict(clear.assign(low=-1.0)).endswith(
        "No part's contribution is apart from zero."
    )
    assert "too little" in summaries.exchange_verdict(there.iloc[:0])


def test_a_part_that_is_the_whole_face_has_all_of_the_asymmetry(tmp_path, monkeypatch):
    one = lambda faces: (np.zeros(faces.pixels.shape[:1] + faces.pixels.shape[2:], int), ["everything"])  # noqa: E731
    monkeypatch.setattr(exchange, "regions", one)
    monkeypatch.setattr(summaries, "regions", one)
    found = summaries.exchanged_parts(
        study(tmp_path, measure="accuracy"), "objects/gender", "faces/identity"
    ).set_index("part")
    np.testing.assert_allclose(found.loc["everything"], found.loc["the whole face"], atol=1e-9)


def test_fewer_pixels_are_needed_to_come_less_far(tiny):
    near, far = summaries.pixels_needed(tiny, 0.2), summaries.pixels_needed(tiny, 0.8)
    known = near.percent.notna()
    assert (near.percent[known] <= far.percent[known] + 1e-9).all()
    assert far.percent.dropna().between(0, 100).all()


def test_a_study_without_gains_still_names_two_families(tiny, monkeypatch):
    def none(*_, **__):
        raise ValueError("no family gains")

    monkeypatch.setattr(claims, "asymmetries", none)
    assert summaries.clearest_asymmetry(tiny) == ("objects/gender", "faces/identity")


def test_the_clearest_asymmetry_is_not_the_one_that_is_known_least(tiny, monkeypatch):
    estimate = SimpleNamespace(value=np.array([0.9, -0.4, 0.5]), se=np.array([40.0, 0.1, np.nan]))
    pairs = (("a", "b"), ("a", "c"), ("b", "c"))
    monkeypatch.setattr(claims, "asymmetries", lambda _: SimpleNamespace(pairs=pairs, estimate=estimate))
    assert summaries.clearest_asymmetry(tiny) == ("c", "a")


def test_the_masks_that_are_shown_are_those_that_were_measured(tiny):
    """They were drawn with another seed: ties at 0, of which positive parts have thousands, fell elsewhere."""
    p, cell = tiny.parameters, tiny.grid[0]
    images, labels = maps.explained_images(p, tiny.store, cell.task)
    model, filling = networks.load(p, tiny.store, cell), masking.fillings(images, p.fill)
    measured = tiny.curves().sel(model=cell.name, ranking="relevance", mode="keep").probability
    with torch.inference_mode():
        for percent, mask in zip(p.percents, summaries.kept_pixels(tiny, cell.name), strict=True):
            shown = model(masking.apply(images, mask, "keep", filling)).softmax(1)
            shown = shown.gather(1, labels[:, None])[:, 0]
            assert np.allclose(shown, measured.sel(percent=percent), atol=1e-4)
