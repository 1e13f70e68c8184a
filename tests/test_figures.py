"""Figures: colours of maps, data of charts, and the errors of an author who forgot something."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import figures

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
    "bars": lambda facet: figures.bars(DATA, "ranking", "accuracy", "task", "low", "high", facet, rule=0.5),
    "intervals": lambda facet: figures.intervals(
        DATA, "ranking", "accuracy", "low", "high", facet=facet, margin=0.1
    ),
    "scatter": lambda facet: figures.scatter(DATA, "low", "high", "ranking", facet=facet, diagonal=True),
    "heatmap": lambda facet: figures.heatmap(DATA, "ranking", "percent", "accuracy", facet=facet, centre=0.5),
}


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


def test_map_over_a_face_shows_the_face_where_nothing_is_relevant():
    face = np.zeros((2, 2, 3), dtype=np.uint8)
    face[0] = 255
    rgb = figures.map_image(np.zeros((2, 2)), under=face).astype(int)
    assert rgb[0].mean() > rgb[1].mean() + 50


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
    picture = figures.show(figures.scatter(DATA, "low", "high", facet="task"), **TEXTS).payload["svg"]
    assert picture.count('aria-label="low: ') == len(DATA), "each row is drawn once, in its own panel"


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
        figures.show(figures.scatter(many, "low", "high"), **TEXTS)


def test_builders_name_a_missing_column():
    with pytest.raises(ValueError, match=r"'acuracy'.*accuracy"):
        figures.curves(DATA, "percent", "acuracy")
    with pytest.raises(ValueError, match="no rows"):
        figures.curves(DATA[:0], "percent", "accuracy")


def test_image_grid_needs_a_header_for_each_image():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    payload = figures.image_grid([[image, image]], ["face", "map"], ["A"], **TEXTS).payload
    assert len(payload["images"]) == 1
    with pytest.raises(ValueError, match="headers"):
        figures.image_grid([[image, image]], ["face"], ["A"], **TEXTS)
    with pytest.raises(ValueError, match="uint8"):
        figures.image_grid([[image / 255]], ["face"], ["A"], **TEXTS)
