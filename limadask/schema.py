"""The JSON schema of configuration files, for editors and people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from limadask import registry
from limadask.parameters import AcquisitionParameters, Buffers, Policy, Topology


def schema() -> dict[str, Any]:
    """Return the JSON schema of a file, with every task and detector installed."""
    definitions: dict[str, Any] = {}
    detectors = [
        _tagged(_part(one, definitions), {"type": {"const": name}}, ["type"])
        for name, one in registry.detectors().items()
    ]
    node = {
        "name": {"type": "string", "description": "Unique name of the node."},
        "after": {
            "description": "The node or nodes whose frames it gets.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "default": "input",
        },
        "on_error": {"enum": ["abort", "mark", "retry"]},
    }
    tasks = [
        _tagged(_part(one, definitions), {**node, "task": {"const": name}}, ["name", "task"])
        for name, one in registry.tasks().items()
    ]
    sections: dict[str, type[BaseModel]] = {
        "acquisition": AcquisitionParameters,
        "topology": Topology,
        "policy": Policy,
        "buffers": Buffers,
    }
    parts = {name: _part(model, definitions) for name, model in sections.items()}
    parts["buffers"]["properties"]["allocator"] |= _allocators(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "limadask acquisition",
        "type": "object",
        "additionalProperties": False,
        "required": ["detector"],
        "properties": {
            "detector": {"anyOf": detectors},
            **parts,
            "pipeline": {"type": "array", "items": {"anyOf": tasks}},
            "metadata": {"type": "object"},
        },
        "$defs": definitions,
    }


def _allocators(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return what may be given as an allocator: a name, or one with its parameters."""
    known = registry.allocators()
    tagged = [
        _tagged(_part(one, definitions), {"type": {"const": name}}, ["type"])
        for name, one in known.items()
    ]
    return {"anyOf": [{"enum": ["auto", *known]}, *tagged]}


def _part(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    made = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(made.pop("$defs", {}))
    return made


def _tagged(part: dict[str, Any], fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        **part,
        "properties": {**fields, **part.get("properties", {})},
        "required": [*required, *part.get("required", [])],
    }
