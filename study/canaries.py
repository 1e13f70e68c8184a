"""Canaries: see `stored`."""

from __future__ import annotations

from typing import Any

from study.steps import Study


def of_experiment(s: Study, name: str) -> dict[str, Any]:
    """The numbers that the canaries of a stored experiment give now."""
    return {}


def disagreements(s: Study, kept: dict[str, Any]) -> list[str]:
    """What canaries say that is no longer so."""
    return []
