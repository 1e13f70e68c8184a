"""The study: parameters, networks, experiments and claims, all of them lazy.

Asking for a result makes what it needs, once, in parallel and into the store; asking again reads it (`study.steps`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study import design, networks, parameters
from study.grid import Cell
from study.steps import Study

__all__ = ["Cell", "Study", "from_notebook", "open_study"]


def open_study(
    profile: str = parameters.DEFAULT_PROFILE,
    data: str | None = None,
    root: str | Path | None = None,
    **overrides: Any,
) -> Study:
    """The study of a profile, with single parameters overridden; `root` is the folder of its store.

    Raises:
        ParameterError: a parameter is wrong, or the study cannot work (`design.check`). Nothing was computed.
    """
    return _checked(parameters.load(profile, data, **overrides), root)


def from_notebook(namespace: Mapping[str, Any]) -> Study:
    """The study of a notebook's parameters; pass `globals()`. Bad parameters fail here, before any computing."""
    return _checked(parameters.from_notebook(namespace))


def _checked(settings: parameters.Parameters, root: str | Path | None = None) -> Study:
    design.check(settings)
    s = Study(settings, root)
    networks.check(s)
    return s
