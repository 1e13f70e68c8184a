"""The text notebooks: prose and calls."""

import ast
import re

import pytest

from report.sections import BOOK, find, sections
from study import claims, parameters, stored
from study.provenance import ROOT

TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", BOOK / "layout.md", BOOK / "reproduce.md"]

FIGURES = {"show", "image_grid"}


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.name)
def test_cells_hold_calls_and_end_with_what_they_show(section):
    for cell in section.notebook().cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree)), (
            cell.source
        )
        drawn = [node for node in ast.walk(tree) if _draws(node)]
        # Jupyter shows the last expression of a cell: a figure anywhere else is lost without a word.
        assert len(drawn) <= 1, cell.source
        if drawn:
            assert isinstance(tree.body[-1], ast.Expr) and drawn[0] in ast.walk(tree.body[-1]), cell.source


def _draws(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in FIGURES and getattr(node.func.value, "id", None) == "figures"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_files_that_texts_name_exist(path):
    named = re.findall(r"`((?:analysis|faces|study|report|book|tests|profiles)/[\w./-]*)`", path.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_that_texts_show_have_parameters_that_exist(path):
    given = re.findall(r"""-p "?(\w+=(?:\[[^]]*]|\S+))""", path.read_text())
    parameters.load(**parameters.parse_assignments(given))


def test_the_front_page_and_the_readme_count_the_claims():
    assert len(claims.STEPS) == 9
    assert "nine claims" in (ROOT / "README.md").read_text()
    index = " ".join((BOOK / "index.md").read_text().split())
    assert "eight that follow the original's abstract and one of ours (C9)" in index
    outside = [
        name for name, said in claims.words().items() if said["original"].startswith("Not in the abstract")
    ]
    assert outside == ["C9"]


def test_what_the_readme_says_of_retraining_is_what_was_stored():
    """If this fails, another sentence has to stand there."""
    said = " ".join((ROOT / "README.md").read_text().split())
    assert (
        "top pixels of the default rule lost no more accuracy than networks trained anew without as many random"
        in said
    )
    lost = stored.recall("retrain").tables["difference"]
    rule = lost[(lost.ranking == parameters.load().composite) & (lost.network == "retrained")].iloc[0]
    assert rule.low <= 0


def test_a_changed_file_of_a_network_makes_sections_out_of_date(tmp_path):
    file = tmp_path / "mine.pth"
    p = parameters.load("smoke", pretrainings={"mine": f"weights:{file}"})
    keys = set()
    for content in (None, b"one", b"another"):
        if content:
            file.write_bytes(content)
        keys.add(find("models").key(p, {}))
    assert len(keys) == 3


def test_broken_links_and_circles_under_data_stop_nothing(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data / "people", elsewhere):
        folder.mkdir(parents=True)
    (data / ".#genders.csv").symlink_to("someone@machine.1234")
    (data / "circle").symlink_to(data)
    (data / "itself").symlink_to(data / "itself")
    (data / "people" / "Ann").symlink_to(elsewhere)
    section, p = find("masking"), parameters.load("smoke", data)
    before = section.key(p, {})
    assert section.key(p, {}) == before
    (elsewhere / "1.jpg").write_bytes(b"x")
    assert section.key(p, {}) != before, "behind a link"
