"""The book: execute what changed, render if anything did, write down what was done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout

from report import records
from report.sections import LOCK, Section, find, sections
from study import parameters as params
from study import provenance
from study.parameters import ROOT, Parameters

BUILD = ROOT / "_build"
REFERENCES = "\n\n## References\n\n```{bibliography}\n```\n"
MOST_AT_ONCE = 4  # sections; each takes 1 GB of memory, and as much again for each of its workers


class BuildError(RuntimeError):
    """The book could not be built; the message says which section or page, and why."""


@dataclass(frozen=True)
class _Folder:
    """Where one build keeps its things."""

    root: Path

    def notebook(self, section: Section) -> Path:
        return self.root / "notebooks" / f"{section.name}.ipynb"

    def record(self, section: Section) -> Path:
        return self.root / "records" / f"{section.name}.json"

    def lock(self) -> FileLock:
        """A lock that one build at a time holds; the system frees it even when a build is killed."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(
                f"another build is writing {self.root.relative_to(ROOT)}: waiting for it to end", flush=True
            )
            lock.acquire()
        return lock


def build(profile: str, data: str | None = None) -> Path:
    """Make the book with one profile; return its front page.

    Raises:
        ParameterError: the profile is wrong. Nothing was computed.
        BuildError: a cell failed, or a page could not be rendered. What was finished is kept.
    """
    parameters = params.load(profile, data)
    folder = _Folder(BUILD / profile)
    with folder.lock():
        _execute_all(parameters, folder)
        _write_results(parameters, folder)
        _render(folder)
    return folder.root / "html" / "index.html"


def print_pdf(profile: str, data: str | None = None) -> Path:
    """Make the book and its PDF; return the PDF.

    Raises:
        BuildError: there is no Chromium, before anything is computed; or the book or the PDF could not be made.
    """
    from report import pdf

    if pdf.chromium() is None:
        raise BuildError(pdf.MISSING)
    made = build(profile, data).parent / pdf.NAME
    if not made.is_file():
        raise BuildError(f"{made} was not made; remove {made.parent} and try again")
    return made


def run_section(name: str, profile: str, data: str | None, overrides: Mapping[str, Any]) -> dict[str, Path]:
    """Execute and render one section with changed parameters, computing only what they affect.

    Returns:
        `notebook`, `page` and `results`, the paths of what was made.

    Raises:
        ParameterError, ValueError: a parameter or the section is wrong. Nothing was computed.
        BuildError: a cell failed, or the page could not be rendered.
    """
    from study import Study

    section = find(name)
    parameters = params.load(profile, data, **overrides)
    folder = _Folder(BUILD / "runs" / f"{name}-{provenance.digest(parameters.model_dump())[:8]}")
    with folder.lock():
        _execute(section, parameters, overrides, folder)
        record = records.read_json(folder.record(section))
        ending = records.ending(section, record)
        text = section.source.read_text()
        if "{cite}" in text and "{bibliography}" not in text:  # in the book the last page has it
            ending += REFERENCES
        marks = {name: records.mark(record)}
        _publish(folder, {name: folder.notebook(section)}, {name: ending}, {}, marks, strict=False)
    return {
        "notebook": folder.notebook(section),
        "page": folder.root / "html" / f"{name}.html",
        "results": Study(parameters).store.root,
    }


def compare(first: str, second: str) -> Path:
    """Make a page that shows what moved between two builds; see `report.comparison.open_run` for their names.

    Raises:
        ValueError: there is no such build. Nothing was made.
        BuildError: the page could not be rendered.
    """
    from report import comparison

    a, b = (comparison.open_run(name, BUILD) for name in (first, second))
    folder = _Folder(BUILD / "compare" / f"{a.name}-{b.name}")
    with folder.lock():
        notebook = folder.root / "compare.ipynb"
        nbformat.write(comparison.page(a, b), notebook)
        _publish(folder, {"compare": notebook}, {}, {}, {}, strict=True)
    return folder.root / "html" / "compare.html"


def status(profile: str, data: str | None = None) -> list[dict[str, Any]]:
    """For each section: its state (current, out of date, failed, not run), seconds and peak memory."""
    parameters = params.load(profile, data)
    folder = _Folder(BUILD / profile)
    rows = []
    for section in sections():
        record = records.read_json(folder.record(section))
        if folder.notebook(section).with_suffix(".failed.ipynb").is_file():
            state = "failed"
        elif not record:
            state = "not run"
        else:
            state = "current" if record["key"] == section.key(parameters, {}) else "out of date"
        cost = {name: record.get(name) for name in ("seconds", "peak_memory_mb")}
        rows.append({"section": section.name, "state": state, **cost})
    return rows


def _running_order() -> list[Section]:
    """The front page sums up the others, so it runs last."""
    front, *chapters = sections()
    return [*chapters, front]


def _execute_all(parameters: Parameters, folder: _Folder) -> None:
    """Execute all sections, as many side by side as cores feed; what two need, one makes while the other waits."""
    at_once = min(MOST_AT_ONCE, max(1, (os.cpu_count() or 1) // parameters.workers))
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(_execute, section, parameters, {}, folder) for section in _running_order()]
        try:
            for future in running:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _execute(section: Section, parameters: Parameters, overrides: Mapping[str, Any], folder: _Folder) -> None:
    """Execute a section unless what is there is current."""
    key = section.key(parameters, dict(overrides))
    if records.read_json(folder.record(section)).get("key") == key and folder.notebook(section).is_file():
        return
    from report.execute import SectionFailed, execute

    _say(f"{section.name}: running")
    given = {"profile": parameters.profile, "data": parameters.data, **overrides}
    try:
        cost = execute(section, {k: v for k, v in given.items() if v is not None}, folder.notebook(section))
    except SectionFailed as error:
        raise BuildError(str(error)) from None
    records.write_json(folder.record(section), records.record(key, parameters, overrides, cost))
    _say(f"{section.name}: {records.duration(cost['seconds'])}, {cost['peak_memory_mb']} MB")


def _say(line: str) -> None:
    """Print a line in one write, so that it stays whole beside another section's."""
    print(f"{line}\n", end="", flush=True)


def _write_results(parameters: Parameters, folder: _Folder) -> None:
    """Write the claims and the manifest, unless those that are there belong to these very sections."""
    done = {section.name: records.read_json(folder.record(section)) for section in sections()}
    key = provenance.digest({name: record["key"] for name, record in done.items()})
    claims_file, manifest_file = folder.root / "claims.json", folder.root / "manifest.json"
    if claims_file.is_file() and records.read_json(manifest_file).get("key") == key:
        return
    from study import Study, multiverse

    study = Study(parameters)
    records.write_json(claims_file, multiverse.ledger(study))
    study.export_relevance(folder.root / "relevance.zarr")
    records.write_json(manifest_file, {"key": key} | records.manifest(study, done))


def _render(folder: _Folder) -> None:
    book = sections()
    done = {section.name: records.read_json(folder.record(section)) for section in book}
    notebooks = {section.name: folder.notebook(section) for section in book}
    endings = {section.name: records.ending(section, done[section.name]) for section in book}
    marks = {section.name: records.mark(done[section.name]) for section in book}
    _publish(folder, notebooks, endings, {"status": records.status_page(book, done)}, marks, strict=True)


def _publish(
    folder: _Folder,
    notebooks: Mapping[str, Path],
    endings: Mapping[str, str],
    pages: Mapping[str, str],
    marks: Mapping[str, str],
    strict: bool,
) -> None:
    """Render, unless the pages that are there were made from the very same things."""
    from report import pdf, render

    browser = pdf.chromium() if strict and endings else None
    files = [*notebooks.values(), *render.inputs(), LOCK]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    key = provenance.digest([hashes, list(notebooks), endings, pages, marks, browser is not None])
    stamp = folder.root / "html" / ".key"
    if stamp.is_file() and stamp.read_text() == key:
        return
    print("rendering the pages", flush=True)
    site = folder.root / "site"
    render.stage(site, notebooks, endings, pages, marks)
    try:
        finished = render.render(site, folder.root / ".render", strict)
    except render.RenderFailed as error:
        raise BuildError(str(error)) from None
    if browser:
        print("printing the PDF", flush=True)
        try:
            pdf.write(finished, [*notebooks, *pages], browser)
        except pdf.PrintFailed as error:
            print(f"no PDF: {error}", flush=True)
    (finished / ".key").write_text(key)
    render.publish(finished, folder.root / "html")


def summary(front_page: Path) -> str:
    """Two lines for the end of a build."""
    manifest = json.loads((front_page.parents[1] / "manifest.json").read_text())
    total = records.duration(manifest["seconds"])
    return f"{len(manifest['sections'])} sections, {total} of computing\nopen {front_page.relative_to(ROOT)}"
