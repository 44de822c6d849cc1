"""The base of everything a user configures: one pydantic model for Python and YAML."""

from __future__ import annotations

from typing import Any, Self, get_args

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

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise config_error(error, type(self)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return type(self)(**{**dict(self), **changes})


class MutableModel(Model):
    """A model whose fields can be set, each validated at once."""

    model_config = ConfigDict(frozen=False, validate_assignment=True)


def config_error(error: ValidationError, model: type[BaseModel]) -> ConfigError:
    """Return the first mistake of a validation as one :class:`ConfigError`."""
    errors = error.errors(include_url=False)
    # a misspelt field is what a missing one comes from
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    field = ".".join(map(str, _path(first["loc"], model)))
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


def _path(place: tuple[str | int, ...], model: type[BaseModel]) -> list[str | int]:
    """Return an error's place without the names of union branches that pydantic puts in."""
    path: list[str | int] = []
    known = _fields(model)
    for part in place:
        if isinstance(part, int):
            path.append(part)
        elif part in known:
            path.append(part)
            known = _fields(known[part])
        elif not path:
            path.append(part)  # a field that does not exist
    return path


def _fields(annotation: Any) -> dict[str, Any]:
    """Return the fields, with their annotations, of a model or of all models of a union."""
    fields: dict[str, Any] = {}
    for one in get_args(annotation):
        fields.update(_fields(one))
    for name, info in getattr(annotation, "model_fields", {}).items():
        fields[name] = info.annotation
    for name, info in getattr(annotation, "__pydantic_fields__", {}).items():
        fields[name] = info.annotation
    return fields
