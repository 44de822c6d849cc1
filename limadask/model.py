"""The base of everything a user configures: one pydantic model for Python and YAML."""

from __future__ import annotations

from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Tag, ValidationError
from pydantic_core import ErrorDetails

from limadask.errors import ConfigError


class Model(BaseModel):
    """A frozen model whose mistakes are :class:`~limadask.ConfigError`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        defer_build=True,  # a process uses few of the tasks and detectors that it imports
    )

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise config_error(error, type(self)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        before = dict(self.__dict__)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            self.__dict__.update(before)  # pydantic keeps what an after-validator refuses
            raise config_error(error, type(self)) from None

    def _repr_html_(self) -> str:
        from limadask.views import model_html

        return model_html(self)

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """Return the schema as pydantic makes it, with the sentences under the fields."""
        from limadask.descriptions import DescribedSchema

        return super().model_json_schema(*args, **{"schema_generator": DescribedSchema, **options})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return type(self)(**{**dict(self), **changes})


class MutableModel(Model):
    """A model whose fields can be set, each validated at once."""

    model_config = ConfigDict(frozen=False, validate_assignment=True)


_MISSPELT = ("extra_forbidden", "unexpected_keyword_argument")
_BOUNDS = {
    "ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "at least", "max_length": "at most",
}  # fmt: skip
"""Pydantic's words for bounds, and ours."""
_KINDS = {
    "bool": "true or false",
    "byte": "a number of bytes, such as 512 MiB",
    "dataclass": "name: value",
    "dict": "name: value",
    "finite": "a finite number",
    "float": "a number",
    "int": "an integer",
    "list": "a list",
    "missing": "a value",
    "model": "name: value",
    "string": "a text",
    "tuple": "a list",
}
"""What is allowed, by the first word of pydantic's name for what is wrong (``int_parsing``)."""


def config_error(error: ValidationError, model: type[BaseModel]) -> ConfigError:
    """Return the first mistake of a validation as one :class:`ConfigError`."""
    errors = error.errors(include_url=False)
    # a misspelt field is what a missing one comes from
    first = next((one for one in errors if one["type"] in _MISSPELT), errors[0])
    misspelt = first["type"] in _MISSPELT
    path, owner = _walk(first["loc"][:-1] if misspelt else first["loc"], model)
    field = ".".join(map(str, [*path, first["loc"][-1]] if misspelt else path))
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ConfigError):  # a model inside this one said it already
        whole = ".".join(part for part in (field, inner.field) if part)
        return ConfigError(
            inner.message, node=inner.node, field=whole, value=inner.value, allowed=inner.allowed
        )
    if misspelt:
        message = f"{model.__name__} has no field {field!r}"
        names = sorted(_fields(owner))
        return ConfigError(message, field=field, value=first["input"], allowed=names)
    message = str(inner) if inner is not None else first["msg"]
    value = None if first["type"] == "missing" else first["input"]
    # a member of a union that refused the same value would have allowed something else
    others = (one for one in errors if _walk(one["loc"], model)[0] == path)
    allowed = " or ".join(dict.fromkeys(filter(None, map(_allowed, others))))
    return ConfigError(message, field=field or None, value=value, allowed=allowed or None)


def _allowed(error: ErrorDetails) -> str:
    """Return what one mistake of a validation says may be given, empty if it does not."""
    context = error.get("ctx", {})
    bounds = [f"{sign} {context[name]}" for name, sign in _BOUNDS.items() if name in context]
    kind = _KINDS.get(error["type"].partition("_")[0], "")
    return str(context.get("expected") or ", ".join(bounds) or context.get("class") or kind)


def _walk(place: tuple[str | int, ...], model: type[BaseModel]) -> tuple[list[str | int], Any]:
    """Return an error's place without the names of union branches, and what is there."""
    path: list[str | int] = []
    here: Any = model
    for part in place:
        if isinstance(part, int):
            path.append(part)
        elif part in (known := _fields(here)):
            path.append(part)
            here = known[part]
        else:
            here = _branch(here, part) or here
    return path, here


def _branch(annotation: Any, name: str) -> Any:
    """Return the member of a union that pydantic calls ``name``."""
    for one in get_args(annotation):
        if name == getattr(one, "__name__", None) or Tag(name) in getattr(one, "__metadata__", ()):
            return one
        if found := _branch(one, name):
            return found
    return None


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
