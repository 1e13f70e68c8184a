"""What made a result: the code it depends on, the versions, the machine, the commit."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "zarr",
    "rsatoolbox",
    "captum",
    "altair",
)
# How results are made, kept and asked for, which changes none of them: editing these recomputes nothing.
MACHINERY = ("steps", "store", "provenance", "parallel", "memory", "settings", "parameters")
APART = frozenset({"study", *(f"study.{name}" for name in MACHINERY)})
OURS = ("analysis", "faces", "study", "report")


def digest(value: Any) -> str:
    """A short stable hash of anything JSON can hold (tuples count as lists)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


@cache
def code(*modules: str, apart: frozenset[str] = APART) -> str:
    """Hash of the named modules and of everything of ours they import, except what is `apart`.

    Comments, docstrings, formatting and classes of `Settings` do not count, so editing those recomputes nothing.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen and (found := _module(name)):
            seen[name], imports = found
            waiting += [module for module in imports if module not in apart]
    return digest(sorted(seen.items()))


@cache
def _module(name: str) -> tuple[str, list[str]] | None:
    """Hash of a module's code and the modules of ours it imports; None if there is no such module."""
    path = ROOT.joinpath(*name.split("."))
    path = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
    if path is None:
        return None
    tree = _without_words(ast.parse(path.read_text()))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return digest(ast.dump(tree)), imports(tree, package)


def imports(tree: ast.AST, package: str) -> list[str]:
    """Modules of ours imported by code that stands in `package`."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names.append(module)
            names += [f"{module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] in OURS]


def _without_words(tree: ast.Module) -> ast.Module:
    def is_settings(node: ast.stmt) -> bool:
        return isinstance(node, ast.ClassDef) and "Settings" in map(ast.unparse, node.bases)

    tree.body = [node for node in tree.body if not is_settings(node)]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return tree


@cache
def commit() -> str:
    """The git commit of the project, with '+' if tracked files differ from it; 'unknown' outside git."""

    def git(*words: str) -> str:
        return subprocess.check_output(
            ["git", *words], cwd=ROOT, stderr=subprocess.DEVNULL, text=True
        ).strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@cache
def environment() -> dict[str, Any]:
    """Versions and machine, for manifests."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def file_hash(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
