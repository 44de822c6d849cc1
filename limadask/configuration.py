"""An acquisition as a file: the YAML form of the same models that Python uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from limadask import registry, yaml_file
from limadask.detector import Detector
from limadask.errors import ConfigError
from limadask.model import Model
from limadask.parameters import AcquisitionParameters, Buffers, Policy, Topology
from limadask.pipeline import Node, Pipeline
from limadask.task import Task

_NODE_FIELDS = ("name", "task", "after", "on_error")
_M = TypeVar("_M", bound=Model)
_P = TypeVar("_P", Detector, Task)


@dataclass(frozen=True)
class Configuration:
    """Everything an acquisition is made of.

    Parameters
    ----------
    detector, pipeline:
        What delivers frames, and what is done with them.
    acquisition, topology, policy, buffers:
        How.
    metadata:
        What is to be saved with the frames.
    """

    detector: Detector
    pipeline: Pipeline = field(default_factory=Pipeline)
    acquisition: AcquisitionParameters = field(default_factory=AcquisitionParameters)
    topology: Topology = field(default_factory=Topology)
    policy: Policy = field(default_factory=Policy)
    buffers: Buffers = field(default_factory=Buffers)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a YAML file; relative paths in it are taken from its folder.

        Raises
        ------
        ConfigError
            When the file cannot be read, or something in it is not what it may be.
        """
        return cls.parse(yaml_file.read(path), Path(path).absolute().parent)

    @classmethod
    def parse(cls, data: Any, folder: Path) -> Self:
        """Make one of plain data; relative paths are taken from ``folder``.

        Raises
        ------
        ConfigError
            Naming section or node, field, value and what is allowed.
        """
        data = _mapping(data, "file", "content", deep=False)
        sections = ("detector", *_SECTIONS, "pipeline", "metadata")
        for name in data:
            if name not in sections:
                raise ConfigError(
                    f"there is no section {name!r}", node="file", field=str(name),
                    value=data[name], allowed=list(sections),
                )  # fmt: skip
        parts: dict[str, Any] = {
            name: _section(model, _mapping(_given(data, name, {}), name, name), name)
            for name, model in _SECTIONS.items()
        }
        parts["buffers"] = parts["buffers"].absolute(folder)
        return cls(
            detector=_detector(_given(data, "detector", {}), folder),
            pipeline=_pipeline(_given(data, "pipeline", []), folder),
            metadata=_mapping(_given(data, "metadata", {}), "metadata", "metadata"),
            **parts,
        )


_SECTIONS: dict[str, type[Model]] = {
    "acquisition": AcquisitionParameters,
    "topology": Topology,
    "policy": Policy,
    "buffers": Buffers,
}


def _given(data: Mapping[str, Any], name: str, default: Any) -> Any:
    value = data.get(name)
    return default if value is None else value


def _named(value: Any) -> bool:
    """Tell whether all names, also deep inside, are words."""
    seen, todo = set[int](), [value]
    while todo:
        one = todo.pop()
        if id(one) in seen or not isinstance(one, Mapping | list):
            continue
        seen.add(id(one))
        if isinstance(one, Mapping):
            if not all(isinstance(key, str) for key in one):
                return False
            one = list(one.values())
        todo += one
    return True


def _mapping(value: Any, node: str, name: str, deep: bool = True) -> dict[str, Any]:
    words = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if not words or (deep and not _named(value)):
        raise ConfigError(
            "must be a mapping of names to values", node=node, field=name, value=value,
            allowed="name: value",
        )  # fmt: skip
    return dict(value)


def _section(model: type[_M], fields: dict[str, Any], node: str) -> _M:
    try:
        return model(**fields)
    except ConfigError as error:
        raise error.at(node) from error


def _detector(value: Any, folder: Path) -> Detector:
    fields = _mapping(value, "detector", "detector")
    kind = fields.pop("type", None)
    try:
        found = registry.detector(kind if isinstance(kind, str) else "")
    except ConfigError as error:
        raise ConfigError(
            error.message, node="detector", field="type", value=kind, allowed=error.allowed
        ) from error
    return _absolute(_section(found, fields, "detector"), folder, "detector")


def _pipeline(value: Any, folder: Path) -> Pipeline:
    if not isinstance(value, list):
        raise ConfigError(
            "must be a list of nodes", node="pipeline", field="pipeline", value=value,
            allowed="- {name: …, task: …, after: …}",
        )  # fmt: skip
    return Pipeline([_node(one, number, folder) for number, one in enumerate(value)])


def _node(value: Any, number: int, folder: Path) -> Node:
    fields = _mapping(value, "pipeline", str(number))
    title = str(fields.get("name", number))
    for required in ("name", "task"):
        if not isinstance(fields.get(required), str):
            raise ConfigError(
                f"every node has a {required}", node=title, field=required,
                value=fields.get(required), allowed="a word",
            )  # fmt: skip
    name, task, after, on_error = (fields.pop(key, None) for key in _NODE_FIELDS)
    after = ["input"] if after is None else [after] if isinstance(after, str) else after
    if not isinstance(after, list) or not all(isinstance(one, str) for one in after):
        raise ConfigError(
            "must be a name or a list of names", node=title, field="after", value=after,
            allowed="names of nodes",
        )  # fmt: skip
    if on_error not in (None, "abort", "mark", "retry"):
        raise ConfigError(
            "no policy", node=title, field="on_error", value=on_error,
            allowed=["abort", "mark", "retry"],
        )  # fmt: skip
    try:
        found = registry.task(task)
    except ConfigError as error:
        raise ConfigError(
            error.message, node=title, field="task", value=task, allowed=error.allowed
        ) from error
    task = _absolute(_section(found, fields, title), folder, title)
    return Node(name, task, tuple(after), on_error)


def _absolute(value: _P, folder: Path, node: str) -> _P:
    try:
        return value.absolute(folder)
    except ConfigError as error:
        raise error.at(node) from error
