"""What parameters are made of: the base of the settings that stand beside their users, and kinds of shared values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Percent = Annotated[float, Field(gt=0, lt=100)]
Share = Annotated[float, Field(gt=0, lt=0.5)]
Composite = Literal[
    "epsilon",
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
]
Explainer = Literal[
    Composite, "gradient", "input_x_gradient", "integrated_gradients", "guided_backprop", "occlusion"
]


class ParameterError(ValueError):
    """A parameter that is unknown, of the wrong type or out of range."""


class Settings(BaseModel):
    """Parameters of one module, typed, ranged and described; `study.parameters` composes them into one flat set.

    Classes that inherit from this one do not count as code: what they set is in the key of every result that reads it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def source(default: Any, **options: Any) -> Any:
    """A `Field` that names folders or tables under `data`; a result's key holds their content, not their name."""
    return Field(default, json_schema_extra={"content": True}, **options)


def is_built_in(name: str) -> bool:
    """Whether a source of images needs no folder of the user's."""
    return name == "none" or name.startswith("procedural")


def is_file(name: str) -> bool:
    """Whether a pretraining is a network from a file, the public one of that name or the user's."""
    return name.startswith(("public:", "weights:"))


def is_images(name: str) -> bool:
    """Whether a pretraining is a set of images to train on."""
    return name != "none" and not is_file(name)


def once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """`values`, unless one of them occurs twice: ValueError."""
    if len(set(values)) < len(values):
        raise ValueError("each once")
    return values


def ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    """`values`, unless they do not ascend or one occurs twice: ValueError."""
    if list(values) != sorted(set(values)):
        raise ValueError("must ascend without repeats")
    return values
