"""Pages of studies that no test builds a book of: every value that is documented, one task, groups, few people."""

import ast
import os
from typing import Any, Literal, get_args, get_origin

import jupytext
import pytest
from IPython.display import Markdown
from PIL import Image
from tiny_study import TINY, tiny_study

import faces
from report import figures, prose
from report.sections import BOOK
from study import claims, demographics, parameters
from study.settings import Composite

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


# Values that are documented in words, in a study of drawn faces.
SPECIAL: list[dict[str, Any]] = [
    {"pretrainings": {"none": "none", "objects": "procedural:objects"}},
    {"pretrainings": {"none": "none"}},
    {"pretrainings": {"objects": "procedural:objects"}},
    {"tasks": ["identity"]},
    {"tasks": ["gender"]},
    {"tasks": ["gender"], "explained_people": "new", "explain": "true"},
    {"pretraining_runs": 3, "seeds": 6},
    {"groups": []},
    {"groups": ["gender"]},
    {"identity_people": "none", "crop": "none"},
    *({name: value} for name, value in [("batch_norm", False), ("muon", True), ("augment", True)]),
    {"multiverse": {"fill": ["grey"], "likeness": ["spearman", "overlap"], "explained_people": ["new"]}},
]
CHEAP = {
    "evidence_people": 20,
    "evidence_samples": 64,
    "evidence_seeds": 2,
    "evidence_images": 8,
    "evidence_methods": ["epsilon_plus", "random"],
    "intervention_images": 4,
    "explorer_faces": 1,
    "explorer_composites": ["epsilon"],
    "narrow_people": 20,
    "narrow_samples": 32,
    "sanity_label_epochs": 1,
    "sanity_methods": ["gradient"],
    "retrain_methods": ["random"],
    "shortcut_methods": ["gradient"],
    "multiverse": {},
    "multiverse_resamples": 100,
}
LEDGER = ("index", "models", "relevance", "masking", "generalisation", "asymmetry", "consensus", "humans")
OF = {
    "evidence": "truth",
    "retrain": "truth",
    "sanity": "shortcuts",
    "shortcut": "shortcuts",
    "explorer": "explorer",
}


def every_value() -> list[dict[str, Any]]:
    """Parameters, one changed at a time: every value of those that name their values, alone where they are lists."""
    values = list(SPECIAL)
    for name, field in parameters.Parameters.model_fields.items():
        several = get_origin(field.annotation) is tuple
        kind = get_args(field.annotation)[0] if several else field.annotation
        for value in get_args(kind) if get_origin(kind) is Literal else ():
            if (name, value) != ("device", "cuda"):
                beside = [] if name != "evidence_methods" else [set(get_args(Composite)) - {value}]
                values.append({name: [value, *(min(names) for names in beside)] if several else value})
    return values


def spread() -> list[dict[str, Any]]:
    """Fewer studies in which every value of `every_value` that needs no list occurs; new people have no true class."""
    values: dict[str, list[str]] = {}
    for name, value in (pair for each in every_value()[len(SPECIAL) :] for pair in each.items()):
        if isinstance(value, str):
            values.setdefault(name, []).append(value)
    most = max(map(len, values.values()))
    values["explain"].reverse()
    return [{name: of_name[k % len(of_name)] for name, of_name in values.items()} for k in range(most)]


def called(changes: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in changes.items())[:60]


@pytest.mark.slow
@pytest.mark.parametrize("changes", spread()[: None if "EXAMPLES" in os.environ else 2], ids=called)
def test_every_value_that_is_documented_gives_a_ledger(store, changes):
    assert len(claims.ledger(tiny_study(store, **changes))) == len(claims.STEPS)


@pytest.mark.skipif(
    "EXAMPLES" not in os.environ, reason="every value by itself takes an hour: set EXAMPLES=1"
)
@pytest.mark.parametrize("changes", every_value(), ids=called)
def test_every_value_that_is_documented_gives_pages(run, changes):
    for page in {OF[name.partition("_")[0]] for name in changes if name.partition("_")[0] in OF} or LEDGER:
        shown, told = run(page, **CHEAP | changes)
        assert shown or told
