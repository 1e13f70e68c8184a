"""The book: execute what changed, render if anything did, write down what was done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from report import pdf, records, render
from report.records import read_json, write_json
from report.render import Page
from report.sections import BOOK, BUILD, LOCK, ROOT, Section, find, hashes, sections, texts
from study import design, networks, provenance
from study import parameters as params
from study.parameters import Parameters
from study.steps import Study

COMPARISON = Section(BOOK / "compare.md")
REFERENCES = "\n\n## References\n\n```{bibliography}\n```\n"
MOST_AT_ONCE = 4  # sections; each takes 1 GB of memory, and as much again for each of its workers


class BuildError(RuntimeError):
    """The book could not be built; the message says which section or page, and why."""


def build(profile: str, data: str | None = None) -> Path:
    """Make the book with one profile; return its front page.

    Raises:
        ParameterError, WeightsError: the profile, or a network that it names, is wrong, or its study cannot work.
            Nothing was computed.
        BuildError: a cell failed, or a page could not be rendered. What was finished is kept.
    """
    parameters, book, folder = _checked(profile, data), sections(), BUILD / profile
    with _locked(folder):
        networks.check(Study(parameters))
        _execute_all(book, parameters, folder)
        done = {section.name: read_json(_record(folder, section)) for section in book}
        _write_results(parameters, folder, done)
        pages = [_page(section, folder, done[section.name]) for section in book]
        pages += [Page(path.stem, path.read_text()) for path in texts()]
        pages.append(Page("status", render.status_page(book, done)))
        _publish(folder, pages, pdf.chromium())
    return folder / "html" / "index.html"


def print_pdf(profile: str, data: str | None = None) -> Path:
    """Make the book and its PDF; return the PDF.

    Raises:
        BuildError: there is no Chromium, before anything is computed; or the book or the PDF could not be made.
    """
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
    section = find(name)
    parameters = _checked(profile, data, **overrides)
    folder = BUILD / "runs" / f"{name}-{provenance.digest(parameters.model_dump())[:8]}"
    with _locked(folder):
        networks.check(Study(parameters))
        _execute(section, parameters, overrides, folder)
        text = section.source.read_text()
        alone = "{cite}" in text and "{bibliography}" not in text  # in the book the last page has it
        page = _page(section, folder, read_json(_record(folder, section)), REFERENCES if alone else "")
        _publish(folder, [page], strict=False)
    notebook, html = _notebook(folder, section), folder / "html" / f"{name}.html"
    return {"notebook": notebook, "page": html, "results": Study(parameters).store.root}


def compare(first: str, second: str) -> Path:
    """Make the page that shows what moved between two builds; see `report.comparison.open_run` for their names.

    Raises:
        ValueError: there is no such build. Nothing was made.
        BuildError: the page could not be made.
    """
    from report.comparison import open_run

    a, b = open_run(first), open_run(second)
    folder = BUILD / "compare" / f"{a.name}-{b.name}"
    with _locked(folder):
        _run(COMPARISON, {"first": str(a.folder), "second": str(b.folder)}, folder)
        _publish(folder, [Page(COMPARISON.name, _notebook(folder, COMPARISON))])
    return folder / "html" / f"{COMPARISON.name}.html"


def status(profile: str, data: str | None = None) -> list[dict[str, Any]]:
    """For each section: its state (current, out of date, failed, not run), seconds and peak memory."""
    parameters, folder = params.load(profile, data), BUILD / profile
    rows = []
    for section in sections():
        record = read_json(_record(folder, section))
        if _notebook(folder, section).with_suffix(".failed.ipynb").is_file():
            state = "failed"
        elif not record:
            state = "not run"
        else:
            state = "current" if record["key"] == section.key(parameters, {}) else "out of date"
        cost = {name: record.get(name) for name in ("seconds", "peak_memory_mb")}
        rows.append({"section": section.name, "state": state, **cost})
    return rows


def summary(front_page: Path) -> str:
    """Two lines for the end of a build."""
    manifest = read_json(front_page.parents[1] / "manifest.json")
    total = render.duration(manifest["seconds"])
    return f"{len(manifest['sections'])} sections, {total} of computing\nopen {front_page.relative_to(ROOT)}"


def _checked(profile: str, data: str | None, **overrides: Any) -> Parameters:
    """The parameters of a study that can work, after saying who goes where in it."""
    parameters = params.load(profile, data, **overrides)
    _say(design.plan(parameters))
    return parameters


def _notebook(folder: Path, section: Section) -> Path:
    return folder / "notebooks" / f"{section.name}.ipynb"


def _record(folder: Path, section: Section) -> Path:
    return folder / "records" / f"{section.name}.json"


def _page(section: Section, folder: Path, record: records.Record, more: str = "") -> Page:
    ending = render.ending(section, record) + more
    return Page(section.name, _notebook(folder, section), ending, render.mark(record))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one build at a time write a folder; the system frees the lock even when a build is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another build is writing {folder.relative_to(ROOT)}: waiting for it to end", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _execute_all(book: list[Section], parameters: Parameters, folder: Path) -> None:
    """Execute all sections, as many side by side as cores feed; what two need, one makes while the other waits."""
    front, *chapters = book  # the front page sums up the others, so it runs last
    at_once = min(MOST_AT_ONCE, max(1, (os.cpu_count() or 1) // parameters.workers))
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(_execute, section, parameters, {}, folder) for section in (*chapters, front)]
        try:
            for future in running:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _execute(section: Section, parameters: Parameters, overrides: Mapping[str, Any], folder: Path) -> None:
    """Execute a section unless what is there is current."""
    key, record = section.key(parameters, dict(overrides)), _record(folder, section)
    if read_json(record).get("key") == key and _notebook(folder, section).is_file():
        return
    cost = _run(section, {"profile": parameters.profile, "data": parameters.data, **overrides}, folder)
    write_json(record, records.record(key, parameters, overrides, cost))


def _run(section: Section, parameters: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Execute a section; its cost."""
    from report.execute import SectionFailed, execute

    _say(f"{section.name}: running")
    given = {name: value for name, value in parameters.items() if value is not None}
    try:
        cost = execute(section, given, _notebook(folder, section))
    except SectionFailed as error:
        raise BuildError(str(error)) from error
    _say(f"{section.name}: {render.duration(cost['seconds'])}, {cost['peak_memory_mb']} MB")
    return cost


def _say(line: str) -> None:
    """Print a line in one write, so that it stays whole beside another section's."""
    print(f"{line}\n", end="", flush=True)


def _write_results(parameters: Parameters, folder: Path, done: Mapping[str, records.Record]) -> None:
    """Write the claims, the maps and, last, the manifest, unless what is there belongs to these very sections."""
    manifest = folder / "manifest.json"
    key = provenance.digest({name: record["key"] for name, record in done.items()})
    if (folder / "claims.json").is_file() and read_json(manifest).get("key") == key:
        return
    from report import results

    rests_on = results.write(parameters, folder)
    write_json(manifest, {"key": key} | records.manifest(parameters, done, rests_on))


def _publish(folder: Path, pages: list[Page], browser: str | None = None, strict: bool = True) -> None:
    """Render, and print where there is a browser, unless what is there was made from the very same things."""
    files = [page.source for page in pages if isinstance(page.source, Path)]
    key = provenance.digest([hashes([*files, *render.inputs(), LOCK]), pages, browser is not None])
    stamp = folder / "html" / ".key"
    if stamp.is_file() and stamp.read_text() == key:
        return
    print("rendering the pages", flush=True)
    site = folder / "site"
    render.stage(site, pages)
    try:
        finished = render.render(site, folder / ".render", strict)
    except render.RenderFailed as error:
        raise BuildError(str(error)) from None
    if browser:
        print("printing the PDF", flush=True)
        try:
            pdf.write(finished, [page.name for page in pages], browser)
        except pdf.PrintFailed as error:
            print(f"no PDF: {error}", flush=True)
    (finished / ".key").write_text(key)
    render.publish(finished, folder / "html")
