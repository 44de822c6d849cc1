"""The declared pipeline: named tasks and what each comes after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, get_args

import numpy as np

from limadask.errors import ConfigError
from limadask.parameters import OnError
from limadask.task import Assembling, Task

INPUT = "input"
"""The node that every pipeline has: what the detector delivers."""


@dataclass(frozen=True, slots=True)
class Node:
    """One task in its place.

    Parameters
    ----------
    name:
        Unique in its pipeline.
    task:
        What is done.
    after:
        The nodes whose frames it gets.
    on_error:
        What happens when it raises; None as the policy says.
    """

    name: str
    task: Task
    after: tuple[str, ...] = (INPUT,)
    on_error: OnError | None = None


class Pipeline:
    """A graph of tasks; the node ``input`` is what the detector delivers.

    Examples
    --------
    >>> from limadask_tasks import Crop, Flip
    >>> pipe = Pipeline()
    >>> pipe.add("upside_down", Flip(axis="y"))
    >>> pipe.add("centre", Crop(y=10, x=10, height=80, width=80), after="upside_down")
    >>> print(pipe)
    input
    └─ upside_down: flip(axis=y)
       └─ centre: crop(y=10, x=10, height=80, width=80)
    """

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self._nodes: dict[str, Node] = {}
        for node in nodes:
            self._insert(node)

    def add(
        self,
        name: str,
        task: Task,
        after: str | Sequence[str] = INPUT,
        on_error: OnError | None = None,
    ) -> None:
        """Add a task.

        Parameters
        ----------
        name:
            Unique name of the node.
        task:
            What is done; its relative paths are taken from the current folder, now.
        after:
            Name or names of the nodes whose frames it gets; they may be added later.
        on_error:
            Overrides the policy for this node.

        Raises
        ------
        ConfigError
            When the name is taken, or something is not what it may be.
        """
        parents = (after,) if isinstance(after, str) else tuple(after)
        if isinstance(task, Task):
            try:
                task = task.absolute(Path.cwd())
            except ConfigError as error:
                raise error.at(name) from error
        self._insert(Node(name, task, parents, on_error))

    def _insert(self, node: Node) -> None:
        task: object = node.task  # whatever a user may pass
        if not isinstance(task, Task):
            kind = "the class, not an instance" if isinstance(task, type) else "no task"
            raise ConfigError(
                f"this is {kind}", node=node.name, field="task", value=node.task, allowed="a Task"
            )
        if node.name == INPUT or node.name in self._nodes:
            raise ConfigError(
                "two nodes of one name" if node.name != INPUT else "'input' is the detector's",
                node=node.name,
                field="name",
                value=node.name,
                allowed="a name not used yet",
            )
        if not node.name or not node.name.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(
                "this can be no name",
                node=node.name,
                field="name",
                value=node.name,
                allowed="letters, digits, _ and -",
            )
        if node.on_error not in (None, *get_args(OnError)):
            raise ConfigError(
                "no policy",
                node=node.name,
                field="on_error",
                value=node.on_error,
                allowed=list(get_args(OnError)),
            )
        if not node.after:
            raise ConfigError(
                "names no node to come after",
                node=node.name,
                field="after",
                value=[],
                allowed=f"{INPUT!r} or names of nodes",
            )
        self._nodes[node.name] = node

    @property
    def assembles(self) -> bool:
        """Whether some task puts parts of frames together."""
        return any(isinstance(node.task, Assembling) for node in self)

    @property
    def needs_gpu(self) -> bool:
        """Whether some task works on a GPU."""
        return any(node.task.needs_gpu for node in self)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            raise ConfigError(
                "no node of this name", field="name", value=name, allowed=[INPUT, *self._nodes]
            ) from None

    def ordered(self) -> list[Node]:
        """Return the nodes, each after those it gets frames from, else as added.

        Raises
        ------
        ConfigError
            When ``after`` names no node, or the nodes form a circle.
        """
        for node in self:
            for parent in node.after:
                if parent != INPUT and parent not in self._nodes:
                    raise ConfigError(
                        "comes after a node that does not exist",
                        node=node.name,
                        field="after",
                        value=parent,
                        allowed=[INPUT, *(name for name in self._nodes if name != node.name)],
                    )
        done: dict[str, Node] = {}
        waiting = dict(self._nodes)
        while waiting:
            ready = [n for n in waiting.values() if all(p == INPUT or p in done for p in n.after)]
            if not ready:
                circle = _circle(waiting)
                raise ConfigError(
                    f"the nodes {circle} wait for each other in a circle",
                    node=circle[0],
                    field="after",
                    value=list(waiting[circle[0]].after),
                    allowed="nodes that do not come after this one",
                )
            for node in ready:
                done[node.name] = waiting.pop(node.name)
        return list(done.values())

    def with_node(self, node: Node) -> Pipeline:
        """Return a copy with one node more."""
        return Pipeline([*self, node])

    def __repr__(self) -> str:
        lines = [INPUT, *self._branches(INPUT, "")]
        return "\n".join(lines)

    def _branches(self, parent: str, indent: str) -> Iterator[str]:
        children = [node for node in self if parent in node.after]
        for node in children:
            last = node is children[-1]
            fields = ", ".join(
                f"{key}={_brief(value)}"
                for key, value in node.task
                if key in node.task.model_fields_set
            )
            yield f"{indent}{'└─' if last else '├─'} {node.name}: {node.task.task_name()}({fields})"
            yield from self._branches(node.name, indent + ("   " if last else "│  "))

    def _repr_html_(self) -> str:
        from limadask.views import pipeline_html

        return pipeline_html(self)


def _circle(waiting: dict[str, Node]) -> list[str]:
    """Return the nodes of one circle; those that only come after it are not to blame."""
    needs = {name: set(node.after) & set(waiting) for name, node in waiting.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return sorted(set(error.args[1]))
    return sorted(waiting)


def _brief(value: Any) -> str:
    """Return a value in words; an array by its shape."""
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    return str(value)
