"""The text notebooks: prose and calls."""

import ast

import pytest

from report.sections import sections

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
