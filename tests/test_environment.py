"""Dependencies: one source of truth, and what is derived from it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = PROJECT["dependencies"] + [d for extra in PROJECT["optional-dependencies"].values() for d in extra]
LOCK = (ROOT / "requirements.lock").read_text()


def _plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_conda_environment_is_what_pyproject_says():
    made = subprocess.run(
        [sys.executable, ROOT / ".ci" / "conda_environment.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "environment.yml").read_text() == made, "run `make lock`"


def test_conda_environment_names_every_dependency():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in listed if isinstance(item, dict))
    names = {re.split(r"[<>=]", item)[0] for item in [i for i in listed if isinstance(i, str)] + pip}
    wanted = {Requirement(text).name for text in WANTED} - {"torch"} | {"pytorch", "python"}
    assert wanted <= names


@pytest.mark.parametrize("text", WANTED)
def test_lock_satisfies_pyproject(text):
    wanted = Requirement(text)
    pins = re.findall(rf"^{re.escape(_plain(wanted.name))}==(\S+)", LOCK, flags=re.MULTILINE)
    assert pins, f"{wanted.name} is not in requirements.lock: run `make lock`"
    assert all(wanted.specifier.contains(pin) for pin in pins)


def test_every_pin_has_a_hash():
    blocks = re.split(r"^(?=\S)", LOCK, flags=re.MULTILINE)
    pinned = [block for block in blocks if re.match(r"[\w.-]+(\[.*\])?==", block)]
    assert len(pinned) > len(WANTED)
    assert all("--hash=sha256:" in block for block in pinned)


def test_lock_names_no_place_to_download_from():
    assert "://" not in LOCK
    assert not re.search(r"^--(index-url|extra-index-url|find-links)", LOCK, flags=re.MULTILINE)
