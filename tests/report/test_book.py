"""Building: what runs, what is skipped, what is kept when something goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.book
FAILING = "# First\n\n```{code-cell} ipython3\ntotal = 41\nraise KeyError('no such face')\n```\n"


def _times(project):
    folder = project.root / "_build" / "smoke" / "notebooks"
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")}


def test_a_build_leaves_pages_notebooks_claims_and_manifest(project):
    done = project.run("book", "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    built = project.root / "_build" / "smoke"
    assert "the first" in (built / "html" / "index.html").read_text()
    assert "How this book was made" in (built / "html" / "status.html").read_text()
    assert json.loads((built / "claims.json").read_text())[0]["estimate"] is None
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["parameters"]["seeds"] == 2
    assert set(manifest["sections"]) == {"index", "first"}
    assert manifest["sections"]["first"]["seconds"] > 0
    assert manifest["sections"]["first"]["peak_memory_mb"] > 10
    executed = (built / "notebooks" / "first.ipynb").read_text()
    assert str(project.root) not in executed
    cells = nbformat.reads(executed, as_version=4).cells
    assert any(
        out.get("text") == "smoke None\n"
        for cell in cells
        if cell.cell_type == "code"
        for out in cell.outputs
    )
    assert "Reproduce this page" in (built / "html" / "first.html").read_text()

    before = _times(project)
    start = time.monotonic()
    again = project.run("book", "--profile", "smoke")
    assert again.returncode == 0
    assert _times(project) == before
    assert "rendering" not in again.stdout
    assert time.monotonic() - start < 30

    project.section("first", "# First\n\nMore text.\n")
    assert project.run("book", "--profile", "smoke").returncode == 0
    after = _times(project)
    assert after["first"] != before["first"]
    assert after["index"] == before["index"]
    assert "More text" in (built / "html" / "first.html").read_text()

    project.section("first", "# First\n\nSee {ref}`nowhere` and [there](absent.md).\n")
    done = project.run("book", "--profile", "smoke")
    assert done.returncode == 1, "a warning is an error"
    assert "nowhere" in done.stderr and "absent" in done.stderr, "every link that leads nowhere is named"
    assert "More text" in (built / "html" / "first.html").read_text(), "the old pages stay"


def test_a_failing_cell_is_shown_and_what_was_finished_is_kept(project):
    (project.root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/first\n- file: book/second\n"
    )
    project.section("second", FAILING.replace("First", "Second"))
    done = project.run("book", "--profile", "smoke")
    assert done.returncode == 1
    assert "book/second.md: a cell failed with KeyError" in done.stderr
    assert "total = 41" in done.stderr
    assert "no such face" in done.stderr
    assert len(done.stderr.splitlines()) <= 10 and "Traceback" not in done.stderr
    log = project.root / "_build" / "smoke" / "error.log"
    assert str(log) in done.stderr and "----> 2 raise KeyError('no such face')" in log.read_text()
    notebooks = project.root / "_build" / "smoke" / "notebooks"
    found = {path.name for path in notebooks.iterdir()} - {"index.ipynb"}  # which may have run beside them
    assert found == {"first.ipynb", "second.failed.ipynb"}
    assert not (project.root / "_build" / "smoke" / "html").exists()
    states = project.run("status", "--profile", "smoke").stdout
    assert [line.split()[1] for line in states.splitlines()[1:]][1:] == ["current", "failed"]


def test_a_section_whose_process_is_killed_is_told_as_such(project):
    cell = "# First\n\n```{code-cell} ipython3\nimport os\nos.kill(os.getpid(), 9)\n```\n"
    project.section("first", cell)
    done = project.run("book", "--profile", "smoke")
    assert done.returncode == 1
    assert "error: book/first.md: its process was killed, most often for want of memory" in done.stderr
    assert len(done.stderr.splitlines()) <= 10 and "Traceback" not in done.stderr


def test_a_second_build_waits_and_takes_over_from_one_that_is_killed(project):
    cell = "# First\n\n```{code-cell} ipython3\nimport time\ntime.sleep(SECONDS)\n```\n"
    project.section("first", cell.replace("SECONDS", "300"))
    first = project.start("book", "--profile", "smoke")
    assert "first: running\n" in first.stdout, "printed before or after the index, which runs beside it"
    second = project.start("book", "--profile", "smoke")
    assert any("waiting" in line for line in iter(second.stdout.readline, ""))  # after the plan
    project.section("first", cell.replace("SECONDS", "0"))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    out, err = second.communicate(timeout=200)
    assert second.returncode == 0, out + err
    assert "first: running" in out
    notebooks = project.root / "_build" / "smoke" / "notebooks"
    assert {path.name for path in notebooks.iterdir()} == {"first.ipynb", "index.ipynb"}


def test_run_makes_one_section_with_other_parameters(project):
    cell = "```{code-cell} ipython3\nprint(profile, seeds)\n```\n"
    project.section("first", "# First\n\nAs in {cite}`bach2015`.\n\n" + cell)
    done = project.run("run", "first", "--profile", "smoke", "-p", "seeds=4")
    assert done.returncode == 0, done.stdout + done.stderr
    made = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[-3:])
    cells = nbformat.read(made["notebook"], as_version=4).cells
    assert any(
        out.get("text") == "smoke 4\n" for cell in cells if cell.cell_type == "code" for out in cell.outputs
    )
    text = re.sub("<[^>]+>", "", Path(made["page"]).read_text())
    assert "run first --profile smoke -p seeds=4" in text
    assert "Sebastian Bach" in text, "what the section cites is listed on its page"


def test_plain_papermill_line(project):
    bin_folder = os.path.dirname(sys.executable)
    line = "jupytext --quiet --to ipynb --output - book/first.md | papermill --no-progress-bar - out.ipynb"
    command = f"set -o pipefail; export PATH={bin_folder}:$PATH; {line} -p profile smoke -p seeds 5"
    done = subprocess.run(["bash", "-c", command], cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(project.root / "out.ipynb", as_version=4).cells
    assert any(
        out.get("text") == "smoke 5\n" for cell in cells if cell.cell_type == "code" for out in cell.outputs
    )
