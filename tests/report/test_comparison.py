"""Two builds compared: what moved, and against which noise."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from report import comparison
from report.sections import ROOT
from study.store import write

MODELS = ["faces/gender/0", "faces/gender/1", "objects/gender/0", "objects/gender/1"]


def claim(estimate, half, verdict="supported", name="C1"):
    numbers = {"estimate": estimate, "ci_low": estimate - half, "ci_high": estimate + half}
    part = numbers | {"label": "gender", "verdict": verdict}
    return {
        "id": name,
        "title": "Comparable",
        "verdict": verdict,
        "part": "gender",
        "parts": [part],
    } | numbers


def maps(seed, images=("i1", "i2", "i3"), change=()):
    """Maps of two families, whose seeds differ by a little noise; the maps of `change` are something else."""
    rng = np.random.default_rng(0)
    base = {family: rng.normal(size=(len(images), 8, 8)) for family in ("faces", "objects")}
    rng = np.random.default_rng(seed)
    relevance = np.stack([base[m.split("/")[0]] + 0.3 * rng.normal(size=(len(images), 8, 8)) for m in MODELS])
    for model in change:
        relevance[MODELS.index(model)] = rng.normal(size=(len(images), 8, 8))
    coordinates = {"model": MODELS, "name": ("image", list(images))}
    return xr.Dataset({"relevance": (("model", "image", "y", "x"), relevance)}, coords=coordinates)


def run(folder, claims, relevance=None, **parameters):
    folder.mkdir(parents=True)
    manifest = {
        "commit": "0123456789abcdef",
        "python": "3.11.1",
        "parameters": {"confidence": 0.95, "fill": "mean"} | parameters,
        "versions": {"numpy": "2.4.0"},
        "hashes": {"images": {"study": "aa"}, "weights": {"faces/gender/0": "bb"}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "claims.json").write_text(json.dumps(claims))
    if relevance is not None:
        write(relevance, folder / "relevance.zarr")
    return comparison.open_run(str(folder), folder.parent)


def test_differences_are_in_units_of_both_standard_errors(tmp_path):
    a = run(tmp_path / "a", [claim(0.1, 0.06), claim(0.5, 0.1, name="C2"), claim(0, 1, name="C3")])
    b = run(tmp_path / "b", [claim(0.4, 0.08), claim(0.5, 0.1, name="C2"), claim(0, 1, name="C4")])
    found = comparison.claims(a, b).set_index("claim")
    assert list(found.index) == ["C1", "C2"], "those that both have"
    assert found.difference["C1"] == pytest.approx(0.3)
    assert found.noise["C1"] == pytest.approx(0.1 / 1.96, rel=1e-3)
    assert found.units.tolist() == pytest.approx([0.3 * 1.96 / 0.1, 0.0], rel=1e-3)


def test_an_estimate_that_is_not_defined_has_not_moved(tmp_path):
    nothing = dict.fromkeys(("estimate", "ci_low", "ci_high"))
    nothing = (
        claim(0.0, 0.1) | nothing | {"parts": [{"label": "gender", "verdict": "inconclusive"} | nothing]}
    )
    found = comparison.claims(run(tmp_path / "a", [nothing]), run(tmp_path / "b", [claim(0.4, 0.1)]))
    assert found.units.isna().all()


def test_maps_are_held_against_those_of_other_seeds(tmp_path):
    a = run(tmp_path / "a", [], maps(1))
    b = run(tmp_path / "b", [], maps(2, images=("i3", "i1", "i9"), change=["objects/gender/1"]))
    table = comparison.maps(a, b)[0].set_index("model")
    assert list(table.index) == MODELS
    same = run(tmp_path / "c", [], maps(1))
    assert comparison.maps(a, same)[0]["A with B"].tolist() == pytest.approx([1.0] * 4)
    assert table["A with B"]["objects/gender/1"] < 0.3 < table["between seeds"]["objects/gender/1"]


def test_maps_of_the_same_networks_are_matched_by_the_name_of_the_image(tmp_path):
    first = maps(1)
    a, b = run(tmp_path / "a", [], first), run(tmp_path / "b", [], first.isel(image=[2, 0, 1]))
    assert comparison.maps(a, b)[0]["A with B"].tolist() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (None, "no relevance.zarr"),
        (maps(1, images=("x", "y", "z")), "no network or no image"),
        (maps(1).isel(x=slice(4)), "4 pixels"),
    ],
)
def test_maps_that_cannot_be_compared_say_why(tmp_path, other, message):
    table, problem = comparison.maps(run(tmp_path / "a", [], maps(1)), run(tmp_path / "b", [], other))
    assert table.empty and message in problem


def test_what_differs_is_listed(tmp_path):
    a, b = run(tmp_path / "a", []), run(tmp_path / "b", [], fill="blur")
    assert comparison.settings(a, b).to_numpy().tolist() == [["parameter fill", "mean", "blur"]]


def test_a_run_is_found_by_profile_folder_and_file(tmp_path):
    run(tmp_path / "smoke", [claim(0.1, 0.1)])
    for name in ("smoke", str(tmp_path / "smoke"), str(tmp_path / "smoke" / "claims.json")):
        assert comparison.open_run(name, tmp_path).claims[0]["id"] == "C1"


def test_a_run_that_is_not_there_or_not_whole_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"run 'demo': .*make book PROFILE=demo"):
        comparison.open_run("demo", tmp_path)
    run(tmp_path / "half", [])
    (tmp_path / "half" / "claims.json").write_text("[{")
    with pytest.raises(ValueError, match=r"claims\.json is damaged"):
        comparison.open_run("half", tmp_path)
    (tmp_path / "half" / "claims.json").unlink()
    with pytest.raises(ValueError, match=r"has no claims\.json"):
        comparison.open_run("half", tmp_path)


@pytest.mark.book
def test_the_command_makes_a_page(project):
    builds = project.root / "_build"
    shutil.copy(ROOT / "book" / "compare.md", project.root / "book")
    run(builds / "first", [claim(0.1, 0.06)], maps(1))
    run(builds / "second", [claim(0.4, 0.08, "contradicted")], maps(2), fill="blur")
    run(builds / "third", [])
    page = builds / "compare" / "first-second" / "html" / "compare.html"
    said = project.run("compare", "first", "second")
    assert said.returncode == 0, said.stdout + said.stderr
    assert str(page) in said.stdout
    words = ("verdict changed", "moved", "parameter fill", "objects/gender/1", 'data-chart="chart-fig-moved"')
    assert [word for word in words if word not in page.read_text()] == []
    said = project.run("compare", "first", str(builds / "third"))
    assert said.returncode == 0, said.stdout + said.stderr
    text = (builds / "compare" / "first-third" / "html" / "compare.html").read_text()
    assert "Not compared: third has no relevance.zarr" in text and "chart-fig-moved" not in text
