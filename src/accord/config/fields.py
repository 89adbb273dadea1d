"""What all sections of a recipe share: the frozen base class, number types and the check helper."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

RUNTIME = {"device", "num_threads", "checkpoint_every", "samples_every"}
"""Fields that change how a stage runs or what it logs, never its result."""


class Section(BaseModel):
    """A frozen part of a recipe; an unknown field is an error, and docstrings are the help text."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
    )

    def identity(self) -> dict[str, Any]:
        """The fields that decide what is computed: all but how and where it runs."""
        return self.model_dump(exclude=RUNTIME)


LARGEST = 2**63 - 1
"""The largest whole number that JSON libraries and databases keep as it is."""
Count: TypeAlias = Annotated[int, Field(ge=1, le=LARGEST)]
"""A whole number, at least 1."""
CountOrZero: TypeAlias = Annotated[int, Field(ge=0, le=LARGEST)]
Seed: TypeAlias = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
"""A share in [0, 1)."""
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A share in [0, 1]."""
Smoothing: TypeAlias = Annotated[float, Field(ge=0, lt=0.5)]
"""A probability that a label is wrong, below a coin's."""
Schedule: TypeAlias = Literal["constant", "linear", "cosine"]
Name: TypeAlias = Annotated[str, Field(min_length=1)]


def require(condition: bool, message: str, *fields: str) -> None:
    """Raise a validation error that names the fields at fault, for a check across fields.

    Args:
        condition: what must hold.
        message: what is wrong and how to mend it.
        fields: dotted keys below the model that checks; their origin is shown to the user.
    """
    if not condition:
        raise PydanticCustomError(
            "cross_field", "{message}", {"message": message, "fields": fields}
        )
