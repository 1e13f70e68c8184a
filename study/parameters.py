"""The parameters of a study: one flat set, composed from the settings beside their users, and the profiles of them.

A profile is a YAML file in `profiles/`; it may inherit from another with `inherit: NAME`. Whatever a profile, a
command line or a notebook sets is validated here before anything is computed.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from study import (
    asymmetry,
    certainty,
    depth,
    explorer,
    generalisation,
    humans,
    interventions,
    masking,
    models,
    multiverse,
    narrow,
    networks,
    planted,
    relevance,
    replications,
    retrain,
    sanity,
    shortcuts,
    stimuli,
    verdicts,
)
from study.provenance import ROOT
from study.settings import ParameterError, Settings, is_built_in

PROFILES = ROOT / "profiles"
DEFAULT_PROFILE = "demo"
COMPUTE = {"profile", "data", "device", "workers"}  # where and how fast, never what


class Compute(Settings):
    """Where and how fast, never what."""

    profile: str = Field(DEFAULT_PROFILE, description="the profile these values started from")
    data: str | None = Field(None, description="folder that holds the image folders and tables named below")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where networks run")
    workers: int = Field(2, ge=1, le=64, description="processes that train and explain networks side by side")


# Their fields are listed from the last base to the first.
class Parameters(
    retrain.Retrain,
    sanity.Sanity,
    shortcuts.Shortcuts,
    narrow.Narrow,
    interventions.Interventions,
    planted.Evidence,
    humans.Humans,
    explorer.Explorer,
    certainty.Certainty,
    replications.Replications,
    multiverse.Multiverse,
    verdicts.Inference,
    asymmetry.Asymmetry,
    depth.Depth,
    models.Models,
    generalisation.Generalisation,
    masking.Masking,
    relevance.Relevance,
    networks.Networks,
    stimuli.Stimuli,
    Compute,
):
    """All parameters of the study. Immutable; equal parameters give equal results."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return values

    @model_validator(mode="before")
    @classmethod
    def _precision_of_the_machine(cls, values: Any) -> Any:
        # Results then depend on, and manifests then hold, what was used.
        if isinstance(values, Mapping) and values.get("precision") == "auto":
            return {**values, "precision": networks.fastest_precision(values.get("device", "cpu"))}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Parameters:
        if self.faces == "procedural" and self.rated_identities > self.identities:
            raise ValueError(
                f"rated_identities={self.rated_identities}: at most identities={self.identities} can be rated"
            )
        for name, values in self.multiverse.items():
            allowed = get_args(type(self).model_fields[name].annotation)
            if not values or not set(values) <= set(allowed) or len(set(values)) < len(values):
                raise ValueError(f"multiverse: {name}={values}: name different ones of {', '.join(allowed)}")
        other = [task for task in self.tasks if task not in ("identity", "gender")]
        if self.faces == "procedural" and other:
            raise ValueError(f"tasks={list(self.tasks)}: of drawn faces only gender and identity are known")
        if self.faces != "procedural" and not self.attribute_tables and set(self.tasks) - {"identity"}:
            raise ValueError(
                f"attribute_tables: needed for tasks={list(self.tasks)} on photographs; give a table, or set "
                "tasks=[identity]"
            )
        if taken := set(self.tasks) & stimuli.TAKEN:
            raise ValueError(f"tasks={list(self.tasks)}: {sorted(taken)} is no attribute of a face")
        if missing := set(self.tasks) - set(self.finetuning_samples):
            raise ValueError(f"finetuning_samples: no entry for {sorted(missing)}")
        if self.sanity_label_people > self.narrow_people:
            raise ValueError(
                f"sanity_label_people={self.sanity_label_people}: at most narrow_people={self.narrow_people}"
            )
        runs = self.pretraining_runs
        if runs == 2:
            raise ValueError(
                "pretraining_runs=2: what differs between runs needs at least 3 of them, so that two are left when one "
                "is left out; set pretraining_runs=3, or 1"
            )
        if runs > 1 and (self.seeds % runs or self.seeds < 2 * runs):
            raise ValueError(
                f"pretraining_runs={runs}, seeds={self.seeds}: each run needs as many seeds as the others, at least 2; "
                f"set seeds={runs * max(2, round(self.seeds / runs))}, or pretraining_runs=1"
            )
        if self.explained_people == "new" and self.explain == "true" and "identity" in self.tasks:
            raise ValueError(
                "explained_people='new', explain='true': new people are no class of the identity task; "
                "set explain=predicted, or tasks=[gender]"
            )
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={list(self.tasks)}: each task once")
        folders = [v for v in self.pretrainings.values() if not is_built_in(v)]
        if self.faces != "procedural":
            folders.append(self.faces)
        if folders and self.data is None:
            raise ValueError(
                f"data: needed, because {folders[0]!r} is a folder; give DATA=path or --data path"
            )
        if self.ratings_names and not self.ratings:
            raise ValueError(
                f"ratings_names={self.ratings_names!r}: names the people of `ratings`; give these too"
            )
        return self

    def computed(self) -> dict[str, Any]:
        """Every parameter that decides what is computed, not where or how fast."""
        return self.model_dump(exclude=COMPUTE)

    def path(self, name: str) -> Path:
        """A folder or table named by a parameter, under `data`."""
        path = Path(self.data or ".").expanduser() / name
        if not path.exists():
            raise ParameterError(f"{name!r}: no such file or folder under data={self.data!r} ({path})")
        return path

    def as_json(self) -> str:
        """Every value, as one line of JSON with sorted keys."""
        return json.dumps(self.model_dump(), sort_keys=True)


def profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yml"))


def _read_profile(name: str) -> dict[str, Any]:
    path = PROFILES / f"{name}.yml"
    if not isinstance(name, str) or not path.is_file():
        raise ParameterError(f"profile={name!r}: no such profile; there are {', '.join(profiles())}")
    values = yaml.safe_load(path.read_text()) or {}
    parent = values.pop("inherit", None)
    return (_read_profile(parent) if parent else {}) | values


def load(profile: str = DEFAULT_PROFILE, data: str | Path | None = None, **overrides: Any) -> Parameters:
    """Parameters of a profile with `overrides` on top.

    Args:
        profile: a file name in `profiles/`, without the ending.
        data: the user's data folder; stored as an absolute path.
        overrides: values of single parameters; None means "as in the profile".

    Raises:
        ParameterError: one message that names every bad parameter, its value and what is allowed.
    """
    values = _read_profile(profile)
    values |= {name: value for name, value in overrides.items() if value is not None}
    values["profile"] = profile
    data = data if data is not None else values.get("data")
    if data is not None:
        values["data"] = str(Path(data).expanduser().resolve())
    try:
        return Parameters(**values)
    except ValidationError as error:
        raise ParameterError("\n".join(_explain(e) for e in error.errors())) from None


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`name=value` strings, values read as YAML, as a dict."""
    values = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"{text!r}: write a parameter as name=value")
        values[name.strip()] = yaml.safe_load(value)
    return values


def from_notebook(namespace: Mapping[str, Any]) -> Parameters:
    """Parameters from a notebook's variables: its `parameters` cell and what papermill injected.

    Papermill injects unknown parameters without complaint, so every public literal in the notebook's
    namespace must be a parameter here.

    Raises:
        ParameterError: a variable that is no parameter, or a value that is not allowed.
    """
    ours = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in {"In", "Out"}
        and isinstance(value, str | int | float | bool | list | tuple | dict | None)
    }
    profile = ours.pop("profile", None) or os.environ.get("ANALYSIS_PROFILE", DEFAULT_PROFILE)
    return load(profile, ours.pop("data", None) or os.environ.get("ANALYSIS_DATA"), **ours)


def describe(name: str) -> str:
    """One line on a parameter: what it means and what it may be."""
    field = Parameters.model_fields[name]
    limits = ", ".join(str(m) for m in field.metadata if not callable(m))
    kind = str(field.annotation).replace("typing.", "")
    return f"{name} ({kind}{', ' + limits if limits else ''}): {field.description}"


def _explain(error: Mapping[str, Any]) -> str:
    where = [str(part) for part in error["loc"]]
    if not where:
        return str(error["msg"]).removeprefix("Value error, ")
    name = where[0]
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Parameters.model_fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return (
            f"{name}={error['input']!r}: unknown parameter{hint} Known: {', '.join(Parameters.model_fields)}"
        )
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(where)}={error['input']!r}: {message}. Allowed: {describe(name)}"
