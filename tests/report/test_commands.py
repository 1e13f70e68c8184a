"""Commands that fail: one error each, what and what to do; requests that are wrong before anything runs."""

import errno

import pytest
import yaml

from report import __main__, build, failures, pdf
from report.sections import Section
from study.settings import ParameterError
from study.store import Store, StoreError


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


def test_make_pdf_without_a_chromium_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(pdf, "chromium", lambda: None)
    assert __main__.main(["pdf", "--profile", "smoke"]) == 1
    assert "Chromium" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*.*")] == ["error.log"]


@pytest.mark.parametrize(
    ("error", "status", "first"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "x.zarr"),
            1,
            "No space left on device: x.zarr; make room",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "_build"),
            1,
            "_build; make it readable and writable and run",
        ),
        (
            StoreError("store/a/b is missing or damaged; delete the folder"),
            1,
            "store/a/b is missing or damaged; del",
        ),
        (build.BuildError("a cell failed\n" + "line\n" * 99), 1, "a cell failed"),
        (yaml.YAMLError("no\n" * 50), 1, "YAMLError: no"),
        (KeyError("x"), 1, "KeyError: 'x'"),
        (ParameterError("seeds=1: at least 2\n" * 30), 2, "seeds=1: at least 2"),
        (ParameterError("seeds=1: at least 2; it is " + "1" * 9999), 2, "seeds=1: at least 2"),
    ],
)
def test_an_error_is_ten_lines_and_its_trace_a_log_file(monkeypatch, tmp_path, capsys, error, status, first):
    def fail(*_):
        raise error

    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build, "build", fail)
    assert __main__.main(["book", "--profile", "smoke"]) == status
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert first in lines[0] and len(lines) <= 10 and len(said) < 5000 and "Traceback" not in said
    log = tmp_path / "_build" / "smoke" / "error.log"
    if log.exists():
        assert str(log) in lines[-1] and str(error) in log.read_text() and "in fail" in log.read_text()
    assert log.exists() == (status == 1 or len(lines) > 1)


def test_where_no_log_can_be_written_there_is_the_error_alone(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert failures.tell(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "file" / "smoke") == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: No space left on device; make room on the disk and run again: what is finished is kept"
    ]


def test_check_names_every_damaged_result(monkeypatch, tmp_path, capsys):
    store = tmp_path / "store"
    monkeypatch.setenv("ANALYSIS_STORE", str(store))
    monkeypatch.setattr(build, "BUILD", tmp_path / "_build")
    assert __main__.main(["check"]) == 0 and "0 results" in capsys.readouterr().out
    for key in "abc":
        Store().folder("kind", key, lambda folder: (folder / "result.json").write_text("[1]"), dict)
    (store / "kind" / ".d.tmp").mkdir()  # left by a build that was killed
    assert __main__.main(["check"]) == 0 and "3 results, all as they" in capsys.readouterr().out
    (store / "kind" / "b" / "result.json").write_text("[2]")
    (store / "kind" / "e").touch()
    assert __main__.main(["check"]) == 1
    said = capsys.readouterr()
    named = [
        key for key in "abce" if f"{store}/kind/{key} is missing or damaged; delete the folder" in said.out
    ]
    assert named == ["b", "e"] and "2 of 4 results are damaged: delete" in said.err


@pytest.mark.parametrize("count", [0, 2])
def test_a_notebook_needs_exactly_one_parameters_cell(tmp_path, count):
    cell = "\n```{code-cell} ipython3\n:tags: [parameters]\n\nprofile = None\n```\n"
    source = tmp_path / "first.md"
    source.write_text(
        "---\njupytext:\n  text_representation: {extension: .md, format_name: myst}\n---\n" + cell * count
    )
    with pytest.raises(ValueError, match=f"{count} cells"):
        Section(source).notebook()
