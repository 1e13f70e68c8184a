"""Requests that are wrong: one error each, before anything runs."""

import pytest

from report import __main__, build, pdf
from report.sections import Section


@pytest.fixture
def ask(monkeypatch, tmp_path, capsys):
    """Run a command; its exit status and what it says on standard error. It must not have made anything."""
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")

    def run(*arguments):
        status = __main__.main(list(arguments))
        assert not (tmp_path / "_build").exists()
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "masking", "-p", "seed=4"], ["seed", "did you mean 'seeds'"]),
        (["run", "masking", "-p", "seeds=many"], ["seeds", "many"]),
        (["run", "masking", "-p", "seeds=1"], ["seeds=1", "2"]),
        (["run", "masking", "-p", "seeds"], ["name=value"]),
        (["run", "msaking"], ["msaking", "did you mean 'masking'"]),
        (["book", "--profile", "smoek"], ["smoek", "smoke"]),
        (["compare", "nowhere", "elsewhere"], ["run 'nowhere'", "make book PROFILE=nowhere"]),
    ],
)
def test_a_wrong_request_is_one_error_before_anything_runs(ask, arguments, words):
    status, said = ask(*arguments)
    assert status == 2
    assert all(word in said for word in words), said


def test_make_pdf_without_a_chromium_says_what_to_install(ask, monkeypatch):
    monkeypatch.setattr(pdf, "chromium", lambda: None)
    status, said = ask("pdf", "--profile", "smoke")
    assert status == 1 and "Chromium" in said


@pytest.mark.parametrize("count", [0, 2])
def test_a_notebook_needs_exactly_one_parameters_cell(tmp_path, count):
    cell = "\n```{code-cell} ipython3\n:tags: [parameters]\n\nprofile = None\n```\n"
    source = tmp_path / "first.md"
    source.write_text(
        "---\njupytext:\n  text_representation: {extension: .md, format_name: myst}\n---\n" + cell * count
    )
    with pytest.raises(ValueError, match=f"{count} cells"):
        Section(source).notebook()
