"""Figures: colours of maps, data of charts, and the errors of an author who forgot something."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import vl_convert
import xarray as xr
from PIL import Image

from report import figures

DATA = pd.DataFrame(
    {
        "percent": [5, 10, 5, 10],
        "ranking": ["relevance", "relevance", "random", "random"],
        "task": ["gender", "identity"] * 2,
        "accuracy": [0.7, 0.9, 0.5, 0.6],
        "low": [0.6, 0.8, 0.4, 0.5],
        "high": [0.8, 1.0, 0.6, 0.7],
    }
)
TEXTS = {"name": "keep", "caption": "Accuracy.", "alt": "Accuracy rises."}
CHARTS = {
    "curves": lambda facet: figures.curves(
        DATA, "percent", "accuracy", "ranking", "low", "high", facet, rule=0.5
    ),
    "bars": lambda facet: figures.bars(DATA, "ranking", "accuracy", "task", facet, rule=0.5),
    "intervals": lambda facet: figures.intervals(
        DATA, "ranking", "accuracy", "low", "high", facet=facet, margin=0.1
    ),
    "heatmap": lambda facet: figures.heatmap(DATA, "ranking", "percent", "accuracy", facet=facet, centre=0.5),
    "specification": lambda facet: figures.specification(DATA, "accuracy", "low", "high", "ranking", "task"),
}


def test_an_axis_is_cut_only_where_an_interval_leaves_it():
    def domain(high: float):
        rows = DATA.assign(high=[high, 0.9, 0.8, 0.7])
        spec = figures.intervals(rows, "ranking", "accuracy", "low", "high", within=(-2, 2)).to_dict()
        found = [layer["encoding"]["x"].get("scale", {}).get("domain") for layer in spec["layer"]]
        return next((ends for ends in found if ends), None)

    assert domain(1.9) is None
    assert domain(150.0) == [0.4, 2]


@pytest.mark.parametrize("centre", [None, 0.0])
def test_a_matrix_without_a_value_says_so(centre):
    rows = DATA.assign(accuracy=np.nan)
    figure = figures.show(figures.heatmap(rows, "ranking", "percent", "accuracy", centre=centre), **TEXTS)
    assert "could be computed" in figure.payload["svg"]
    rows.loc[0, "accuracy"] = 0.5
    assert figures.show(figures.heatmap(rows, "ranking", "percent", "accuracy", centre=centre), **TEXTS)


def test_an_interval_that_leaves_the_axis_ends_in_an_arrowhead():
    rows = pd.DataFrame({"part": ["a", "b", "c"], "x": [0.0, 0.1, 5.0], "low": -1.0, "high": [1.0, 9.0, 8.0]})
    spec = figures.intervals(rows, "part", "x", "low", "high", within=(-2, 2)).to_dict()
    arrow = [layer for layer in spec["layer"] if "triangle" in str(layer["mark"])]
    assert [layer["mark"]["shape"] for layer in arrow] == ["triangle-right"]
    drawn = vl_convert.vegalite_to_svg({**spec, "layer": arrow, "width": 300})
    assert drawn.count('aria-roledescription="point"') == 2, "b and c, not a"


def test_map_colours():
    rgb = figures.map_image(np.array([[1.0, 0.0, -1.0]])).astype(int)
    positive, zero, negative = rgb[0]
    assert positive[0] > positive[2] + 50, "evidence for the class is orange"
    assert negative[2] > negative[0] + 50, "evidence against it is blue"
    assert zero.min() > 240, "no relevance is white"
    assert abs(positive.mean() - negative.mean()) < 40, "neither sign is drawn more strongly"


def test_maps_share_a_scale_if_told_to():
    small, large = np.full((2, 2), 0.1), np.full((2, 2), 1.0)
    assert (figures.map_image(small) == figures.map_image(large)).all()
    assert (figures.map_image(small, limit=1.0) != figures.map_image(large, limit=1.0)).any()
    assert (figures.map_image(np.zeros((2, 2))) > 240).all()


@pytest.mark.parametrize(
    ("relevance", "message"),
    [(np.zeros((3, 4, 4)), "sum over channels"), (np.full((2, 2), np.nan), "not finite")],
)
def test_map_refuses(relevance, message):
    with pytest.raises(ValueError, match=message):
        figures.map_image(relevance)


@pytest.mark.parametrize("facet", [None, "task"])
@pytest.mark.parametrize("name", CHARTS)
def test_charts_carry_their_data_and_description(name, facet):
    figure = figures.show(CHARTS[name](facet), **TEXTS)
    payload = figure._repr_mimebundle_()[figures.MIME]
    assert payload["spec"]["description"] == TEXTS["alt"]
    (rows,) = payload["spec"]["datasets"].values()
    assert len(rows) == len(DATA)
    assert payload["svg"].count("<path") > len(DATA)
    json.dumps(payload)


def test_panels_hold_their_own_rows():
    spec = figures.show(CHARTS["curves"]("task"), **TEXTS).payload["spec"]
    assert "data" in spec
    assert not any("data" in part for part in [spec["spec"], *spec["spec"]["layer"]])
    picture = figures.show(figures.bars(DATA, "ranking", "low", facet="task"), **TEXTS).payload["svg"]
    assert picture.count('aria-roledescription="bar"') == len(DATA), (
        "each row is drawn once, in its own panel"
    )


def test_table_columns_keep_their_order():
    payload = figures.show(CHARTS["bars"](None), **TEXTS).payload
    assert list(payload["columns"].values()) == [list(DATA.columns)]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"caption": " "}, "caption"), ({"alt": ""}, "alt"), ({"name": "Keep curve"}, "lower-case")],
)
def test_show_refuses_a_figure_without_words(change, message):
    with pytest.raises(ValueError, match=message):
        figures.show(CHARTS["bars"](None), **(TEXTS | change))


def test_show_refuses_too_much_data():
    many = pd.concat([DATA] * 3000)
    with pytest.raises(ValueError, match="summarise"):
        figures.show(figures.bars(many, "low", "high"), **TEXTS)


def test_builders_name_a_missing_column():
    with pytest.raises(ValueError, match=r"'acuracy'.*accuracy"):
        figures.curves(DATA, "percent", "acuracy", "ranking")
    with pytest.raises(ValueError, match="no rows"):
        figures.curves(DATA[:0], "percent", "accuracy", "ranking")


def test_image_grid_needs_a_header_for_each_image():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    payload = figures.image_grid([[image, image]], ["face", "map"], ["A"], **TEXTS).payload
    assert len(payload["images"]) == 1
    with pytest.raises(ValueError, match="headers"):
        figures.image_grid([[image, image]], ["face"], ["A"], **TEXTS)
    with pytest.raises(ValueError, match="uint8"):
        figures.image_grid([[image / 255]], ["face"], ["A"], **TEXTS)


def _tiles(png, shape):
    rows, columns, height, width = shape
    table = Image.open(io.BytesIO(base64.b64decode(png)))
    return table, np.array(table).reshape(rows, height, columns, width).swapaxes(1, 2)


def test_the_explorer_stores_pictures_and_decisions_without_loss():
    rng = np.random.default_rng(0)
    sizes = {"model": 2, "source": 2, "composite": 3, "mode": 2, "percent": 2, "face": 1}
    shape = tuple(sizes.values())
    picture, tiles = ("face", "channel", "y", "x"), ("source", "composite", "face", "y", "x")
    dataset = xr.Dataset(
        {
            "pixels": (picture, rng.integers(0, 256, (1, 3, 4, 5), dtype=np.uint8)),
            "filling": (picture, np.full((1, 3, 4, 5), 7, dtype=np.uint8)),
            "level": (tiles, rng.integers(0, 3, (2, 3, 1, 4, 5), dtype=np.uint8)),
            "relevance": (tiles, rng.normal(size=(2, 3, 1, 4, 5)).astype(np.float32)),
            "prediction": (tuple(sizes), rng.integers(0, 2, shape)),
            "probability": (tuple(sizes), rng.uniform(size=shape)),
            "whole_prediction": (("model", "face"), [[0], [1]]),
            "whole_probability": (("model", "face"), [[0.25], [0.75]]),
            "truth": (("model", "face"), [[0], [0]]),
        },
        coords={
            "model": ["a/gender/0", "b/gender/0"],
            "task": ("model", ["gender", "gender"]),
            "source": ["a/gender/0", "b/gender/0"],
            "composite": ["one", "two", "three"],
            "mode": ["keep", "remove"],
            "percent": [10.0, 20.0],
            "label": ("face", ["face 1"]),
        },
        attrs={"classes": {"gender": ["female", "male"]}},
    )
    payload = json.loads(json.dumps(figures.explorer(dataset, **TEXTS).payload))
    (face,) = payload["data"]
    table, levels = _tiles(face["levels"], (2, 3, 4, 5))
    assert table.mode == "L" and (levels == dataset.level.values[:, :, 0]).all()
    maps = Image.open(io.BytesIO(base64.b64decode(face["maps"]))).convert("RGB")
    second = dataset.relevance.values[1, 2, 0]
    drawn = np.array(maps.crop((10, 4, 15, 8))).astype(int)
    assert np.abs(drawn - figures.map_image(second)).max() <= 3, "its own scale, one of 255 shades"
    at = (((1 * 2 + 0) * 3 + 2) * 2 + 1) * 2 + 0
    assert face["masked"][0][at] == dataset.prediction.values[1, 0, 2, 1, 0, 0]
    assert face["masked"][1][at] == pytest.approx(
        1000 * dataset.probability.values[1, 0, 2, 1, 0, 0], abs=0.5
    )
    assert face["whole"] == [[0, 1], [250, 750]]
    with pytest.raises(ValueError, match="no face"):
        figures.explorer(dataset.isel(face=slice(0)), **TEXTS)


def test_only_the_entry_that_matters_has_a_band_until_another_is_picked():
    chart = figures.curves(DATA, "percent", "accuracy", "ranking", "low", "high", emphasis="relevance")
    picture = figures.show(chart, **TEXTS).payload["svg"]
    bands = re.findall(r'<path[^>]*aria-roledescription="area mark"[^>]*>', picture)
    opacities = [float(value) for band in bands for value in re.findall(r'\bopacity="([\d.]+)"', band)]
    assert sorted(opacities) == [0.0, 0.2]
    with pytest.raises(ValueError, match="emphasis='relevnce'"):
        figures.curves(DATA, "percent", "accuracy", "ranking", "low", "high", emphasis="relevnce")


def test_doublings_are_evenly_spaced():
    rows = pd.DataFrame(
        {"percent": [2.5, 5.0, 10.0, 40.0], "accuracy": [0.1, 0.2, 0.3, 0.4], "ranking": "own"}
    )
    picture = figures.show(
        figures.curves(rows, "percent", "accuracy", "ranking", doublings=True), **TEXTS
    ).payload["svg"]
    labels = re.findall(
        r'text-anchor="middle" transform="translate\(([\d.]+),[\d.]+\)"[^>]*>([\d.]+)<', picture
    )
    at = {float(label): float(x) for x, label in labels}
    assert (
        at[5] - at[2.5] == pytest.approx(at[10] - at[5], abs=1) == pytest.approx((at[40] - at[10]) / 2, abs=1)
    )


def test_lines_of_one_colour_can_be_several():
    rows = DATA.assign(model=["a/0", "a/0", "a/1", "a/1"], family="a")
    chart = figures.curves(rows, "percent", "accuracy", "family", detail="model")
    picture = figures.show(chart, **TEXTS).payload["svg"]
    lines = re.findall(r'<path[^>]*aria-roledescription="line mark"[^>]*>', picture)
    assert len(lines) == 2
    assert len({re.search(r'stroke="([^"]+)"', line)[1] for line in lines}) == 1


def test_a_ranking_and_a_verdict_keep_their_colour_in_every_chart():
    def drawn(column, *entries):
        rows = pd.DataFrame({column: entries, "x": 1.0, "y": 2.0})
        bars = figures.bars(rows, "x", "y", colour=column).to_dict()
        scale = bars["layer"][0]["encoding"]["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    assert (
        drawn("ranking", "relevance", "average")["average"] == drawn("ranking", "own", "average")["average"]
    )
    assert drawn("verdict", "inconclusive") != drawn("verdict", "contradicted")


def test_names_of_families_break_below_their_bars():
    rows = pd.DataFrame({"family": ["faces/gender", "objects/gender"], "gain": [1.0, 2.0]})
    picture = figures.show(figures.bars(rows, "family", "gain"), **TEXTS).payload["svg"]
    assert "faces/" in picture and "faces/gender</t" not in picture


def test_intervals_stand_side_by_side_only_where_a_panel_has_several():
    """Here a row has one colour in each panel, though not the same one in both."""
    rows = DATA.assign(study=["first", "second"] * 2, colour=["a", "b", "b", "a"])
    spec = figures.intervals(
        rows, "study", "accuracy", "low", "high", colour="colour", facet="ranking"
    ).to_dict()
    assert "yOffset" not in json.dumps(spec)
    spec = figures.intervals(rows, "study", "accuracy", "low", "high", colour="colour").to_dict()
    assert "yOffset" in json.dumps(spec)


@pytest.mark.parametrize("known", [0, 1])
def test_rows_without_an_estimate_are_left_out_and_said_to_be_if_all_are(known):
    rows = pd.DataFrame({"part": ["a", "b"], "value": [1.0 if known else np.nan, np.nan], "claim": "C1"})
    rows = rows.assign(low=rows.value - 1, high=rows.value + 1, verdict="supported")
    ends = {"estimate": "value", "low": "low", "high": "high"}
    for chart in (
        figures.intervals(rows, label="part", **ends),
        figures.specification(rows, **ends, colour="verdict", facet="claim"),
    ):
        assert ("could be computed" in chart.to_json()) == (not known)
        assert '"b"' not in chart.to_json()
