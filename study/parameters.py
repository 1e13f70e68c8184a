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
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from study import (
    asymmetry,
    certainty,
    generalisation,
    masking,
    models,
    multiverse,
    networks,
    relevance,
    stimuli,
    verdicts,
)
from study.provenance import ROOT
from study.settings import (
    Composite,
    Explainer,
    ParameterError,
    Percent,
    Settings,
    ascending,
    is_built_in,
    once,
    source,
)

PROFILES = ROOT / "profiles"
DEFAULT_PROFILE = "demo"
COMPUTE = {"profile", "data", "device", "workers"}  # where and how fast, never what

Part = Literal["skin", "jaw", "brows", "eyes", "nose", "mouth", "hair"]
Method = Literal[Explainer, "random", "blobs", "centre", "other_image", "average", "edges", "random_weights"]


class Rest(Settings):
    """Moves beside its users."""

    explorer_faces: int = Field(6, ge=1, le=40, description="held-out faces to explore (procedural faces)")
    explorer_composites: tuple[Composite, ...] = Field(
        ("epsilon_plus", "epsilon", "epsilon_alpha2_beta1_flat"),
        min_length=1,
        description="rules to explore faces with",
    )
    ratings: tuple[str, ...] = source(
        (), description="CSVs under `data` with pairwise ratings; none: simulated"
    )
    ratings_columns: tuple[str, str, str] = Field(("a", "b", "value"), description="item, item, rating")
    ratings_direction: Literal["dissimilarity", "similarity"] = Field(
        "dissimilarity", description="what a high rating means"
    )
    ratings_names: str | None = source(None, description="CSV under `data`: rated stimulus, identity")
    raters: int = Field(12, ge=2, le=1000, description="simulated observers")
    rated_identities: int = Field(20, ge=4, le=500, description="people the simulated observers compare")
    observer_noise: float = Field(0.5, ge=0, le=10, description="noise of a simulated rating, in its own SD")
    evidence: tuple[str, ...] = Field(
        ("brows+jaw",),
        min_length=1,
        description="planted evidence: sets of faces whose class only these parts carry, joined by '+'",
    )
    evidence_methods: tuple[Method, ...] = Field(
        get_args(Method),
        min_length=2,
        description="attribution methods and controls scored on planted evidence",
    )
    evidence_seeds: int = Field(
        3, ge=2, le=50, description="networks trained on each set of planted evidence"
    )
    evidence_people: int = Field(
        1500, ge=20, le=100000, description="people in the training half of such a set"
    )
    evidence_samples: int = Field(4500, ge=64, description="images shown while training on such a set")
    evidence_shift: float = Field(
        4.0,
        gt=0,
        le=10,
        description="how far the classes differ in planted evidence, times natural differences",
    )
    evidence_images: int = Field(
        120, ge=8, le=100000, description="held-out images scored in such a set, 2 a person"
    )
    intervention_images: int = Field(
        40, ge=4, le=100000, description="images whose parts are swapped, at most"
    )
    intervention_donors: int = Field(
        2, ge=1, le=20, description="people whose parts each image is given in turn"
    )
    narrow_size: int = Field(
        32, ge=32, le=224, description="image side in the experiments of 'Shortcuts', pixels"
    )
    narrow_width: float = Field(
        0.125, gt=0, le=1, description="channels of their networks relative to VGG-16"
    )
    narrow_people: int = Field(1000, ge=20, le=100000, description="people they train on, one image each")
    narrow_test_people: int = Field(40, ge=8, le=5000, description="other people they test on, 2 images each")
    narrow_shift: float = Field(
        1.5, gt=0, le=5, description="how far their genders differ, relative to the other procedural faces"
    )
    narrow_samples: int = Field(3000, ge=32, description="images shown in each of their trainings")
    shortcut_kinds: tuple[Literal["tint", "mark", "background"], ...] = Field(
        ("mark",), min_length=1, description="shortcuts planted in training images"
    )
    shortcut_strengths: tuple[Annotated[float, Field(ge=0.5, le=1)], ...] = Field(
        (1.0,),
        min_length=1,
        description="share of training images whose shortcut agrees with the class (0.5: none)",
    )
    shortcut_seeds: int = Field(3, ge=2, le=50, description="networks of each kind and strength of shortcut")
    shortcut_methods: tuple[Explainer, ...] = Field(
        ("epsilon_plus", "epsilon_alpha2_beta1", "gradient"),
        min_length=1,
        description="methods whose maps are searched for shortcuts",
    )
    sanity_methods: tuple[Explainer, ...] = Field(
        ("epsilon_plus", "epsilon_alpha2_beta1", "gradient"),
        min_length=1,
        description="methods put to the sanity checks",
    )
    sanity_depths: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 3, 16), min_length=1, description="how many of the 16 layers, from the top, have random weights"
    )
    sanity_seeds: int = Field(2, ge=2, le=50, description="networks in the sanity checks")
    sanity_label_people: int = Field(
        200,
        ge=20,
        le=100000,
        description="people whose labels are permuted, few enough to be learned by heart",
    )
    sanity_label_epochs: int = Field(15, ge=1, le=1000, description="times that each of them is shown")
    retrain_methods: tuple[Literal[Explainer, "random", "centre", "average", "edges"], ...] = Field(
        ("epsilon_plus", "random"),
        min_length=1,
        description="rankings by which pixels are removed to retrain",
    )
    retrain_percents: tuple[Percent, ...] = Field(
        (30.0,), min_length=1, description="share of pixels removed to retrain, %"
    )
    retrain_seeds: int = Field(2, ge=2, le=50, description="retrained networks for each ranking and share")


class Compute(Settings):
    """Where and how fast, never what."""

    profile: str = Field(DEFAULT_PROFILE, description="the profile these values started from")
    data: str | None = Field(None, description="folder that holds the image folders and tables named below")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where networks run")
    workers: int = Field(2, ge=1, le=64, description="processes that train and explain networks side by side")


# Their fields are listed from the last base to the first.
class Parameters(
    Rest,
    certainty.Certainty,
    multiverse.Multiverse,
    verdicts.Inference,
    asymmetry.Asymmetry,
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

    _ascend = field_validator("shortcut_strengths", "sanity_depths", "retrain_percents")(ascending)
    _each_once = field_validator("shortcut_kinds", "shortcut_methods", "sanity_methods", "retrain_methods")(
        once
    )

    @field_validator("evidence")
    @classmethod
    def _parts_of_a_face(cls, sets: tuple[str, ...]) -> tuple[str, ...]:
        for name in sets:
            parts = name.split("+")
            if unknown := set(parts) - set(get_args(Part)):
                raise ValueError(f"{name!r} names no part of a face: {sorted(unknown)}")
            if len(set(parts)) < len(parts) or len({frozenset(s.split("+")) for s in sets}) < len(sets):
                raise ValueError(f"{name!r}: each part, and each set, once")
        return sets

    @field_validator("evidence_methods")
    @classmethod
    def _each_method_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("name each method once")
        if not set(names) & set(get_args(Composite)):
            raise ValueError("name at least one composite of LRP")
        return names

    @model_validator(mode="after")
    def _fits_together(self) -> Parameters:
        if len(self.pretrainings) < 1:
            raise ValueError("pretrainings: name at least one")
        if self.faces == "procedural" and self.rated_identities > self.identities:
            raise ValueError(
                f"rated_identities={self.rated_identities}: at most identities={self.identities} can be rated"
            )
        for name, values in self.multiverse.items():
            allowed = get_args(type(self).model_fields[name].annotation)
            if not values or not set(values) <= set(allowed) or len(set(values)) < len(values):
                raise ValueError(f"multiverse: {name}={values}: name different ones of {', '.join(allowed)}")
        if missing := set(self.tasks) - set(self.finetuning_samples):
            raise ValueError(f"finetuning_samples: no entry for {sorted(missing)}")
        if self.sanity_label_people > self.narrow_people:
            raise ValueError(
                f"sanity_label_people={self.sanity_label_people}: at most narrow_people={self.narrow_people}"
            )
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={list(self.tasks)}: each task once")
        if self.minimum_images > self.maximum_images:
            raise ValueError(
                f"minimum_images={self.minimum_images} exceeds maximum_images={self.maximum_images}"
            )
        folders = [v for v in self.pretrainings.values() if not is_built_in(v)]
        if self.faces != "procedural":
            folders.append(self.faces)
        if folders and self.data is None:
            raise ValueError(
                f"data: needed, because {folders[0]!r} is a folder; give DATA=path or --data path"
            )
        if self.faces != "procedural" and self.gender_table is None and "gender" in self.tasks:
            raise ValueError("gender_table: needed for the gender task on photographs")
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
