"""Texts with gaps: HTML and Markdown that the pages are made of, one file each, filled by Jinja."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def fill(template: str, **values: Any) -> str:
    """The text of a template with its gaps filled; in HTML all values are escaped."""
    return _ENVIRONMENT.get_template(template).render(**values)


def macros(template: str, **functions: Any) -> Any:
    """The macros of a template as functions, which give HTML; `functions` are what they may call."""
    return _ENVIRONMENT.get_template(template, globals=functions).module


def files() -> list[Path]:
    """All templates: what is made with them depends on their text."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in {".html", ".md"})
