"""Fixtures: a small project to build books from, the smoke book, a browser without network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

HEADER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

"""
PARAMETERS = """
```{code-cell} ipython3
:tags: [parameters]

profile = None
data = None
seeds = None
```
"""
RESULTS = """
from report.records import write_json

def write(parameters, folder):
    write_json(folder / "claims.json", [{"id": "C1", "estimate": float("nan"), "verdict": "inconclusive"}])
    return {}
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several workers (-n), what shares fixtures that take long shares a worker: a file of the study, a page."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixtures(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if file.endswith("test_pages.py"):
                return test.partition("[")[2].rstrip("]").partition("-")[0] or file
            return file if "study" in file else nodeid

    return ByFixtures(config, log)


class Project:
    """A copy of the project with notebooks and results that take no time, on a machine without Chromium."""

    def __init__(self, root: Path):
        self.root = root
        for name in ("analysis", "faces", "report", "study"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("profiles", "book/_static"):
            shutil.copytree(ROOT / name, root / name)
        for name in ("_config.yml", "requirements.lock", "book/references.bib"):
            shutil.copy(ROOT / name, root / name)
        (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: book/first\n")
        (root / "report" / "results.py").write_text(RESULTS)
        self.section("index", "# Front\n\nSee [the first](first.md).\n")
        self.section("first", "# First\n\n```{code-cell} ipython3\nprint(profile, seeds)\n```\n")

    def section(self, name: str, body: str, parameters: str = PARAMETERS) -> None:
        title, _, rest = body.partition("\n")
        (self.root / "book" / f"{name}.md").write_text(HEADER + title + "\n" + parameters + rest)

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "report", *arguments]
        environment = os.environ | {"PATH": str(Path(sys.executable).parent)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.root, env=environment, **pipes)

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def one_thread():
    """One torch thread during the test: small networks gain nothing from more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def smoke_book():
    """The folder of the smoke book's pages; built if it is not there or not current."""
    command = [sys.executable, "-m", "report", "book", "--profile", "smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "_build" / "smoke" / "html"


@pytest.fixture(scope="session")
def chromium():
    """Path of a Chromium; without one the test is skipped, but fails in continuous integration."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    reason = "no Chromium on this machine (Debian, Ubuntu: apt-get install chromium chromium-driver)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(chromium, tmp_path_factory):
    """A headless Chromium that cannot resolve any host and logs every request."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1280,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = shutil.which("chromedriver")
    service = webdriver.ChromeService(driver) if driver else None
    browser = webdriver.Chrome(options=options, service=service)
    browser.set_script_timeout(300)  # a long page takes axe a while on a busy machine
    yield browser
    browser.quit()
