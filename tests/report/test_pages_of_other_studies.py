"""Pages of studies that no test builds a book of: with one task, with groups, of photographs of few people."""

import ast
from typing import Any

import jupytext
import pytest
from IPython.display import Markdown
from PIL import Image
from tiny_study import TINY

import faces
from report import figures, prose
from report.sections import BOOK
from study import demographics

FEW = {
    "faces": "people",
    "attribute_tables": [],
    "tasks": ["identity"],
    "minimum_images": 6,
    "pretrainings": {"objects": "procedural:objects", "faces": "people"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def run(store, monkeypatch):
    """Run a page as plain code; what its cells show, and the texts of its prose."""
    monkeypatch.setenv("ANALYSIS_STORE", str(store))
    told: dict[str, str] = {}
    monkeypatch.setattr(prose, "tell", lambda name, text: told.__setitem__(name, str(text)))

    def run(page: str, **parameters: Any) -> tuple[list[Any], dict[str, str]]:
        space, shown = TINY | {"profile": "smoke"} | parameters, []
        for cell in jupytext.read(BOOK / f"{page}.md").cells:
            if cell.cell_type != "code" or "parameters" in cell.metadata.get("tags", []):
                continue
            *lines, last = ast.parse(cell.source).body
            whole = ast.Module([*lines, *([] if isinstance(last, ast.Expr) else [last])], [])
            exec(compile(whole, page, "exec"), space)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), page, "eval"), space))
        return shown, told

    return run


@pytest.mark.slow
@pytest.mark.parametrize("page", ["models", "relevance", "masking", "generalisation", "asymmetry"])
def test_a_page_of_one_task(run, page):
    shown, told = run(page, tasks=["identity"])
    assert shown
    if page == "generalisation":
        assert "Nothing can be compared" in told["depths"]
    if page == "asymmetry":
        assert told["comparisons"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "of_groups"),
    [
        ("models", {"fig-groups", "fig-group-differences"}),
        ("relevance", {"fig-group-maps", "fig-group-parts"}),
    ],
)
def test_groups_of_enough_people_are_compared(run, monkeypatch, page, of_groups):
    monkeypatch.setattr(demographics, "GROUP_OF", 2)
    monkeypatch.setattr(demographics, "MAP_OF", 2)
    shown, told = run(page, confidence=0.6)
    assert of_groups <= {each.name for each in shown if isinstance(each, figures.Figure)}
    assert "intervals holding together" in told["apart"]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["models", "relevance", "masking", "explorer", "humans", "consensus"])
def test_no_picture_of_photographs_of_few_people(run, page, tmp_path):
    drawn = faces.make_faces(6, 8, 40, seed=5)
    for k, who in enumerate(drawn.identity.values):
        path = tmp_path / "people" / who / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.pixels.values[k].transpose(1, 2, 0)).save(path)
    shown, _ = run(page, data=str(tmp_path), **FEW)
    said = [each.data for each in shown if isinstance(each, Markdown)]
    grids = {f.name: f.content for f in shown if isinstance(f, figures.Figure) and f.kind != "chart"}
    if page == "models":
        assert grids.pop("fig-stimuli")["rows"] == ["pretraining: objects"], "and neither set of people"
    elif page not in ("humans", "consensus"):  # which show no pictures
        assert any("only if it is of 8 people or more" in text for text in said)
    assert not grids
    assert drawn.identity.values[0] not in "".join(map(str, shown)), "nobody is named"
