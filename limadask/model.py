"""The base of everything a user configures: one pydantic model for Python and YAML."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from limadask.errors import ConfigError


class Model(BaseModel):
    """A frozen model whose mistakes are :class:`~limadask.ConfigError`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise config_error(error, type(self)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return type(self)(**{**dict(self), **changes})


class MutableModel(Model):
    """A model whose fields can be set, each validated at once."""

    model_config = ConfigDict(frozen=False, validate_assignment=True)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise config_error(error, type(self)) from None


def config_error(error: ValidationError, model: type[BaseModel]) -> ConfigError:
    """Return the first mistake of a validation as one :class:`ConfigError`."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if not _is_tag(part))
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ConfigError):  # a model inside this one said it already
        path = ".".join(part for part in (field, inner.field) if part)
        return ConfigError(
            inner.message, node=inner.node, field=path, value=inner.value, allowed=inner.allowed
        )
    if first["type"] == "extra_forbidden":
        names = sorted(model.model_fields)
        message = f"{model.__name__} has no field {field!r}"
        return ConfigError(message, field=field, value=first["input"], allowed=names)
    context = first.get("ctx", {})
    bounds = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    allowed = context.get("expected") or ", ".join(
        f"{sign} {context[name]}" for name, sign in bounds.items() if name in context
    )
    message = str(inner) if inner is not None else first["msg"]
    value = None if first["type"] == "missing" else first["input"]
    return ConfigError(message, field=field or None, value=value, allowed=allowed or None)


def _is_tag(part: str | int) -> bool:
    """Tell whether a part of an error's place names a branch of a union, not a field."""
    return isinstance(part, str) and (not part.isidentifier() or part[:1].isupper())
