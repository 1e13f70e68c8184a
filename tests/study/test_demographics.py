"""Groups of people: what a table says of them, intervals that hold for people, nothing of groups too small."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_study import tiny_study

from report import sentences
from study import demographics, masking, relevance, stimuli
from study.grid import Cell
from study.settings import ParameterError

RACES = ["Black"] * 70 + ["White"] * 70 + ["Indian"] * 12 + [""] * 8
NOTHING = {"pretrainings": {"none": "none", "objects": "procedural:objects"}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """FairFace's layout: 160 strangers, of eight of whom no race is known."""
    folder = tmp_path_factory.mktemp("groups")
    (folder / "people").mkdir()
    rows = []
    for k, race in enumerate(RACES):
        pixels = np.random.default_rng(k).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "people" / f"{k}.png")
        rows.append(f"{k}.png,{('female', 'male')[k % 2]},{race},{k}")
    (folder / "fairface.csv").write_text("\n".join(["file,gender,race,number", *rows]))
    return folder


def strangers(root, data, **changes):
    tasks = {"tasks": ["gender"], "finetuning_samples": {"gender": 64}, "explained_people": "new"}
    given = {
        "faces": "people",
        "attribute_tables": ["fairface.csv"],
        "test_share": 0.45,
        "explained_images": 80,
    }
    return tiny_study(root, data, **NOTHING | tasks | given | changes)


def test_groups_of_a_table_and_none_of_few_people(root, data):
    s = strangers(root, data, groups=["race"])
    table = demographics.accuracy(s).set_index(["group", "pretraining"])
    assert set(table.index) == {
        (f"race: {r}", p) for r in ("Black", "Indian", "White") for p in NOTHING["pretrainings"]
    }
    few = table.people < demographics.GROUP_OF
    assert few["race: Indian"].all() and few.sum() == 2, "named, with their number"
    assert (table.accuracy.isna() == few).all() and (table.low.isna() == few).all()
    known = pd.Series(RACES, [f"{k}.png" for k in range(len(RACES))])
    faces = stimuli.faces(s)
    tested = known[faces["name"].values[faces.split.values == "test"]].value_counts()
    assert table.people["race: Black", "none"] == tested["Black"]

    apart = demographics.differences(s)
    assert set(apart.groups) == {"race: Black minus the others", "race: White minus the others"}
    black = apart.set_index("groups").loc["race: Black minus the others"]
    assert black.low <= black.difference <= black.high
    maps, groups, families = demographics.mean_maps(s)
    assert [group.partition(" (")[0] for group in groups] == ["race: Black", "race: White"]
    assert len(maps) == 2 and len(maps[0]) == len(families) == 2
    assert set(demographics.parts(s).region) == {f"{r}.{c}" for r in range(1, 5) for c in range(1, 5)}


def test_gender_is_the_default_and_a_group_may_be_alone(root, data, monkeypatch):
    s = strangers(root, data)
    assert demographics.columns(s) == ["gender"]
    assert list(demographics.differences(s).groups) == ["gender: female minus male"], "two groups differ once"
    assert demographics.columns(s.but(groups=())) == [] and demographics.accuracy(s.but(groups=())).empty
    monkeypatch.setattr(
        demographics, "said", lambda p, column: pd.Series("young", [f"{k}.png" for k in range(160)])
    )
    alone = s.but(groups=("age",))
    assert set(demographics.accuracy(alone).group) == {"age: young"}
    assert demographics.differences(alone).empty and demographics.parts(alone).empty
    assert "No two groups" in sentences.groups(demographics.parts(alone))


def test_intervals_of_differences_hold_together(tiny, monkeypatch):
    monkeypatch.setattr(demographics, "MAP_OF", 2)
    monkeypatch.setattr(demographics, "GROUP_OF", 2)
    s = tiny.but(confidence=0.6)  # at 95 % four people say nothing within -1 to 1
    table = demographics.parts(s)
    faces, share = stimuli.explained(tiny), relevance.shares(relevance.maps(tiny))
    of_women, regions = faces.gender.values == "female", list(faces.attrs["parts"])
    assert list(table.region) == regions
    inside = (share * (faces.parts.values == regions.index("hair"))).sum((2, 3)).mean(0)
    row = table.set_index("region").loc["hair"]
    assert row.difference == pytest.approx(inside[of_women].mean() - inside[~of_women].mean())
    monkeypatch.setattr(
        demographics, "regions", lambda faces: (faces.parts.values == regions.index("hair"), ["no", "hair"])
    )
    alone = demographics.parts(s).set_index("region").loc["hair"]
    assert row.high - row.low > alone.high - alone.low, "the more are looked at, the wider"
    assert len(demographics.mean_maps(tiny)[0]) == 2


def test_a_difference_between_people_has_the_textbook_interval(tiny):
    """Networks all alike: only people vary, some of them on several images."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(72), 3)
    inside = people < 12
    of_person = rng.normal(size=72) * np.where(np.arange(72) < 12, 2, 1)
    values = np.tile(of_person[people], (4, 1))
    cells = [Cell(p, "gender", seed, 0) for p in ("faces", "objects") for seed in range(2)]
    found = demographics.difference(tiny, values, people, (inside, ~inside), cells)
    few, many = of_person[:12], of_person[12:]
    assert found.value == pytest.approx(few.mean() - many.mean())
    assert found.se == pytest.approx(np.sqrt(few.var(ddof=1) / 12 + many.var(ddof=1) / 60), rel=0.15)
    assert found.df[0] == 11
    both = demographics.difference(
        tiny, values, people, (np.arange(216) % 3 == 0, np.arange(216) % 3 == 1), cells
    )
    assert both.se == pytest.approx(0, abs=1e-9), "of the same people on both sides nothing is left"
    row = masking.mean_row(tiny, values[:, inside], people[inside], "accuracy", cells)
    assert row["low"] < few.mean() < row["high"]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (
            ["height"],
            r"groups=\['height'\]: no table has the column 'height'; there are gender, number, race",
        ),
        (["number"], r"'number' has 160 values; groups are made of 20 or fewer"),
        (["identity"], r"\['identity'\] makes no groups of people"),
        (["race", "race"], r"groups.*each once"),
    ],
)
def test_columns_that_make_no_groups_are_one_error(root, data, groups, said):
    with pytest.raises(ParameterError, match=said):
        strangers(root, data, groups=groups)


def test_of_drawn_faces_only_gender_is_known(root):
    with pytest.raises(ParameterError, match=r"groups=\['race'\]: of drawn faces only gender is known"):
        tiny_study(root, groups=["race"])


def test_differences_apart_from_zero_in_words():
    table = pd.DataFrame(
        {
            "task": "gender",
            "groups": ["a minus b", "b minus c"],
            "difference": [0.2, 0.1],
            "low": [0.1, -0.1],
            "high": 0.3,
        }
    )
    text = sentences.groups(table)
    assert (
        "all 2 intervals holding together: gender, a minus b 0.20 [0.10, 0.30]." in text
        and "b minus c" not in text
    )
    assert "no difference" in sentences.groups(table.iloc[1:])
