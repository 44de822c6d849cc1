"""What the SIMPLON API calls the fields of our models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from limadask_detectors.dectris.simplon import Part


@dataclass(frozen=True, slots=True, init=False)
class Key:
    """Annotates a field of a model with its name in the SIMPLON API.

    Parameters
    ----------
    names:
        The name; several for the parts of a tuple, in their order.
    part:
        The part of the control unit that has it.
    """

    names: tuple[str, ...]
    part: Part

    def __init__(self, *names: str, part: Part = "detector") -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "part", part)

    def values(self, given: Any) -> dict[str, Any]:
        """Return the values of a field by their names."""
        parts = given if isinstance(given, tuple) else (given,)
        return dict(zip(self.names, parts, strict=False))


def keys_of(model: type[BaseModel]) -> dict[str, Key]:
    """Return the annotated fields of a model, in their order."""
    return {
        field: one
        for field, about in model.model_fields.items()
        for one in about.metadata
        if isinstance(one, Key)
    }
