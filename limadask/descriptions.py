"""What the fields of models are, by the sentence under each in the source.

Pydantic can read these itself, but does so when a class is made: a fifth of the time that every
process takes to import limadask, for texts that only schemas, notebooks and ``--help`` show.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the description of each field that has one."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            found.update(_under_fields(kind))
    given = {name: info.description for name, info in model.model_fields.items()}
    found.update({name: text for name, text in given.items() if text is not None})
    return {name: found[name] for name in model.model_fields if name in found}


class DescribedSchema(GenerateJsonSchema):
    """Makes a schema in which fields have their descriptions."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema of one model."""
        made = super().model_schema(schema)
        described = descriptions(schema["cls"])
        for name, about in made.get("properties", {}).items():
            if name in described:
                about.setdefault("description", described[name])
        return made


def _under_fields(kind: type) -> dict[str, str]:
    """Return the texts under the fields that a class itself has."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # it was made without a file, as in a console
        return {}
    (tree,) = ast.parse(source).body
    found = {}
    for field, below in pairwise(getattr(tree, "body", [])):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = inspect.cleandoc(text.value)
    return found
