"""The parameters of a study: one flat set, composed from the settings beside their users, and the profiles of them.

A profile is a YAML file in `profiles/`; it may inherit from another with `inherit: NAME`. Whatever a profile, a
command line or a notebook sets is validated here before anything is computed.
"""

from __future__ import annotations

import difflib
import json
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
import yaml
from pydantic import Field, ValidationError, model_validator

from study import (
    asymmetry,
    certainty,
    demographics,
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
    weights,
)
from study.provenance import ROOT
from study.settings import ParameterError, Settings, is_built_in

PROFILES = ROOT / "profiles"
DEFAULT_PROFILE = "demo"
COMPUTE = {"profile", "data", "device", "workers"}  # where and how fast, never what
NOTHING = "none"  # in place of None, which in a notebook means "as in the profile"
MOST_TOLD = 8  # bad parameters that one error tells of
LONGEST = 80  # characters of a value in an error


class Compute(Settings):
    """Where and how fast, never what."""

    profile: str = Field(DEFAULT_PROFILE, description="the profile these values started from")
    data: str | None = Field(None, description="folder that holds the image folders and tables named below")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "cpu", description="where networks run; 'auto': on a GPU if there is one"
    )
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
    demographics.Demographics,
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
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return values

    @model_validator(mode="before")
    @classmethod
    def _as_the_machine_is(cls, values: Any) -> Any:
        # Results then depend on, and manifests then hold, what was used.
        if isinstance(values, Mapping):
            values = dict(values)
            if values.get("device") == "auto":
                values["device"] = "cuda" if torch.cuda.is_available() else "cpu"
            if values.get("precision") == "auto":
                values["precision"] = networks.fastest_precision(values.get("device", "cpu"))
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
        if wrong := set(self.groups or ()) & (stimuli.TAKEN | {"identity"}):
            raise ValueError(f"groups={list(self.groups or ())}: {sorted(wrong)} makes no groups of people")
        if self.faces == "procedural" and set(self.groups or ()) - {"gender"}:
            raise ValueError(f"groups={list(self.groups or ())}: of drawn faces only gender is known")
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
        networks.fits(self)
        folders = [
            v for v in self.pretrainings.values() if not is_built_in(v) and not v.startswith("public:")
        ]
        folders = [v.removeprefix("weights:") for v in (*folders, *self.weights_files.values())]
        folders = [v for v in folders if not Path(v).is_absolute()]
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

    @model_validator(mode="after")
    def _labels_can_be_read(self) -> Parameters:
        for label in self.pretrainings:
            if not label.strip() or not label.isprintable() or len(label) > LONGEST:
                raise ValueError(
                    f"pretrainings: label {_short(label)}: give one of 1 to {LONGEST} printable characters"
                )
        return self

    def computed(self) -> dict[str, Any]:
        """Every parameter that decides what is computed, not where or how fast."""
        return self.model_dump(exclude=COMPUTE)

    def path(self, name: str) -> Path:
        """A folder, table or file of weights named by a parameter, under `data`; public weights are downloaded.

        Raises:
            ParameterError: it is not there. WeightsError: public weights cannot be had.
        """
        if name.startswith("public:"):
            labels = [label for label, source in self.pretrainings.items() if source == name]
            files = [self.path(self.weights_files[label]) for label in labels if label in self.weights_files]
            return weights.fetch(name.removeprefix("public:"), *files[:1])
        path = Path(self.data or ".").expanduser() / name.removeprefix("weights:")
        if not path.exists():
            raise ParameterError(f"{name!r}: no such file or folder under data={self.data!r} ({path})")
        return path

    def as_json(self) -> str:
        """Every value, as one line of JSON with sorted keys."""
        return json.dumps(self.model_dump(), sort_keys=True)


def profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yml"))


class _EachKeyOnce(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; of two values, one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            problem = f"{twice[0]!r} stands there twice"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _read_yaml(text: str, what: str) -> Any:
    """The value of a text. ParameterError, which says `what` it is, where it is no YAML."""
    try:
        return yaml.load(text, _EachKeyOnce)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError for dates that do not exist
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark and "\n" in text else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ParameterError(f"{what}: no valid YAML{where}: {_short(problem, str)}") from None


def _read_profile(name: Any, heirs: tuple[str, ...] = ()) -> dict[str, Any]:
    by = f", from which {heirs[-1]!r} inherits" if heirs else ""
    if name in heirs:
        raise ParameterError(f"profile={name!r}: inherits from itself ({' -> '.join([*heirs, name])})")
    if name not in profiles():
        raise ParameterError(
            f"profile={_short(name)}{by}: no such profile; there are {', '.join(profiles())}"
        )
    path = PROFILES / f"{name}.yml"
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"profile={name!r}: {path.name} cannot be read ({error})") from None
    values = _read_yaml(text, f"profile={name!r}")
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ParameterError(f"profile={name!r}: write one `name: value` a line; it holds {_short(values)}")
    if "profile" in values:
        raise ParameterError(f"profile={name!r} sets `profile`; to start from another one: `inherit: NAME`")
    parent = values.pop("inherit", None)
    return (_read_profile(parent, (*heirs, name)) if parent is not None else {}) | values


def load(profile: str = DEFAULT_PROFILE, data: str | Path | None = None, **overrides: Any) -> Parameters:
    """Parameters of a profile with `overrides` on top.

    Args:
        profile: a file name in `profiles/`, without the ending.
        data: the user's data folder, which must exist; stored as an absolute path.
        overrides: values of single parameters; None means "as in the profile", and NOTHING means None, where None is
            allowed.

    Raises:
        ParameterError: one message that names every bad parameter, its value and what is allowed.
    """
    values = _read_profile(profile)
    for name, value in overrides.items():
        if value is not None:
            fields = Parameters.model_fields
            may_be_none = name in fields and type(None) in get_args(fields[name].annotation)
            values[name] = None if value == NOTHING and may_be_none else value
    values["profile"] = profile
    data = data if data is not None else values.get("data")
    if data is not None:
        values["data"] = _folder(data)
    try:
        parameters = Parameters.model_validate(values)
    except ValidationError as error:
        lines = list(dict.fromkeys(_explain(e) for e in error.errors()))
        more = [f"and {len(lines) - MOST_TOLD} more"] if len(lines) > MOST_TOLD else []
        raise ParameterError("\n".join([*lines[:MOST_TOLD], *more])) from None
    if parameters.device == "cuda" and not torch.cuda.is_available():
        raise ParameterError(
            "device='cuda': PyTorch finds no GPU on this machine; set device=cpu, or device=auto"
        )
    return parameters


def _folder(data: Any) -> str:
    try:
        folder = Path(data).expanduser().resolve()
        there = folder.is_dir()
    except (TypeError, ValueError, OSError, RuntimeError):  # a number, a NUL, a name too long, no such user
        there = False
    if not there:
        raise ParameterError(f"data={_short(data)}: no such folder; give DATA=path or --data path")
    return str(folder)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`name=value` strings, values read as YAML, as a dict; null becomes NOTHING (see `load`)."""
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ParameterError(f"{_short(text)}: write a parameter as name=value")
        if name in ("profile", "data"):
            raise ParameterError(
                f"{name}={_short(value, str)}: no parameter of a section; give it as --{name}"
            )
        if name in values:
            raise ParameterError(
                f"{name}: given twice, as {_short(values[name])} and as {_short(value, str)}"
            )
        read = _read_yaml(value, f"{name}={_short(value, str)}")
        values[name] = NOTHING if read is None else read
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
    return f"{name}: {_kind(field.annotation, field.metadata)}; {field.description}"


_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "of at least"}


_PLAINLY = {"a valid tuple": "a list", "a valid dictionary": "a mapping", "a valid string": "text"}
_PLAINLY |= {"Tuple should": "should", "Dictionary should": "should", " after validation": ""}


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type and its limits in words."""
    inner = get_args(annotation)
    match get_origin(annotation):
        case typing.Annotated:
            return _kind(inner[0], [m for given in inner[1:] for m in getattr(given, "metadata", [given])])
        case typing.Literal:
            words = " or ".join(map(repr, inner))
        case typing.Union | types.UnionType:
            words = " or ".join(map(_kind, inner))
        case origin if origin is tuple:
            words = f"a list (each {_kind(inner[0])})"
        case origin if origin is dict:
            words = f"a mapping ({_kind(inner[0])}: {_kind(inner[1])})"
        case _:
            words = _WORDS.get(annotation, str(annotation))
    limits = [
        f"{words_of} {getattr(m, limit)}"
        for m in metadata
        for limit, words_of in _LIMITS.items()
        if hasattr(m, limit)
    ]
    return ", ".join([words, *limits])


def _short(value: Any, write: Callable[[Any], str] = repr) -> str:
    """A value as it is quoted in an error."""
    text = " ".join(write(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _explain(error: Mapping[str, Any]) -> str:
    where = [_short(part, str) for part in error["loc"]]
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = (
        message.replace("valid tuple", "list")
        .replace("valid dictionary", "mapping")
        .replace("valid string", "text")
    )
    if not where:
        return message
    name = where[0]
    if name not in Parameters.model_fields:
        close = difflib.get_close_matches(name, Parameters.model_fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; the page “Reproduce” lists all"
        return f"{name}={_short(error['input'])}: unknown parameter{hint}"
    return f"{'.'.join(where)}={_short(error['input'])}: {message}. {describe(name)}"
