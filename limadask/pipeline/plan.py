"""The planned pipeline: what flows along every edge, found before any frame."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm

import numpy as np
from numpy.typing import NDArray

from limadask import registry
from limadask.detector.share import Step
from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.parameters import EffectiveNode, OnError
from limadask.pipeline.pipeline import INPUT, Node, Pipeline
from limadask.task import Accumulating, PixelTask, Products, Sink, Task, Veto, ViewTask

Output = Spec | Products | None
RAW = "raw"
"""The edge in front of ``input``: frames as the detector delivers them."""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node, or several merged into one pass, with the specs around it.

    Parameters
    ----------
    members:
        Names of the nodes it stands for, in order.
    task:
        What is done.
    after:
        The planned nodes it gets frames from.
    inputs:
        What these yield.
    output:
        What comes out; None for a sink.
    on_error:
        What happens when it raises; None as the policy says.
    refusal:
        Why it cannot be planned for frames that lack some pixels, empty where it can.
    """

    members: tuple[str, ...]
    task: Task
    after: tuple[str, ...]
    inputs: tuple[Spec, ...]
    output: Output
    on_error: OnError | None = None
    refusal: str = ""

    @property
    def name(self) -> str:
        """Name of the node whose output this is."""
        return self.members[-1]

    @property
    def label(self) -> str:
        """All its members' names."""
        return "+".join(self.members)

    def effective(self) -> EffectiveNode:
        """Return it as plain data."""
        output = self.output
        if isinstance(output, Products):
            text: str | None = ", ".join(output.variables)
        else:
            text = None if output is None else str(output)
        return EffectiveNode(
            name=self.label,
            task=self.task.task_name(),
            parameters=self.task.effective(self.inputs[0]),
            after=self.after,
            output=text,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline in the order it runs, for given frames.

    Parameters
    ----------
    raw:
        Frames as the detector delivers them.
    before:
        What turns them into ``input``.
    input:
        The spec of ``input``.
    nodes:
        The pipeline, merged where one pass does for several nodes.
    """

    raw: Spec
    before: tuple[PlannedNode, ...]
    input: Spec
    nodes: tuple[PlannedNode, ...]

    def __getitem__(self, name: str) -> PlannedNode:
        return next(node for node in self.nodes if name in node.members)

    def has_output(self, name: str) -> bool:
        """Tell whether a node's own output exists; it does not inside a merged pass."""
        return name == INPUT or self[name].name == name

    def output(self, name: str) -> Output:
        """Return what a node yields."""
        return self.input if name == INPUT else self[name].output

    def children(self, name: str) -> tuple[PlannedNode, ...]:
        """Return the nodes that get frames from ``name``."""
        return tuple(node for node in self.before + self.nodes if name in node.after)

    def ends(self, name: str | None = None) -> tuple[str, ...]:
        """Return the ends of all branches, or of those through the node ``name``."""
        names = [node.name for node in self.before + self.nodes]
        ends = [one for one in names if not self.children(one)]
        if name is None:
            return tuple(ends)
        through = {name}
        for node in self.before + self.nodes:
            if through & set(node.after):
                through.add(node.name)
        return tuple(end for end in ends if end in through)

    def lacking(self, edge: str, missing: NDArray[np.bool_]) -> tuple[PlannedNode, ...]:
        """Return the nodes after ``edge``, planned for frames that lack some pixels there.

        Sums end it: what they yield is planned when it is known what it lacks. A node that
        cannot be planned ends it too, and says why.
        """
        known = self.raw if edge == self.source else self.output(edge)
        if not isinstance(known, Spec):
            raise TypeError(f"{edge!r} yields no frames")
        specs, nodes = {edge: known.lacking(missing)}, []
        for node in self.before + self.nodes:
            if not set(specs) & set(node.after):
                continue
            inputs = tuple(
                specs.get(name, given) for name, given in zip(node.after, node.inputs, strict=True)
            )
            if isinstance(node.output, Products):  # what a run yields is promised once
                nodes.append(replace(node, inputs=inputs))
                continue
            try:
                output = node.task.plan(*inputs)
            except ConfigError as error:
                nodes.append(replace(node, inputs=inputs, refusal=str(error)))
                continue
            nodes.append(replace(node, inputs=inputs, output=output))
            if isinstance(output, Spec) and not isinstance(node.task, Accumulating):
                specs[node.name] = output
        return tuple(nodes)

    def all_skip_vetoed(self, name: str) -> bool:
        """Tell whether everything after a node leaves vetoed frames out."""
        return all(
            child.task.skips_vetoed
            if isinstance(child.task, Sink)
            else isinstance(child.task, PixelTask | ViewTask | Veto)
            and bool(self.children(child.name))
            and self.all_skip_vetoed(child.name)
            for child in self.children(name)
        )

    @property
    def source(self) -> str:
        """The edge on which blocks come in."""
        return RAW if self.before else INPUT

    @property
    def nb_merged(self) -> int:
        """Detector frames that belong together in all accumulations of the pipeline."""
        specs = [node.output for node in self.nodes if isinstance(node.output, Spec)]
        return lcm(*(spec.nb_merged for spec in specs))


def plan(
    pipeline: Pipeline, raw: Spec, steps: Collection[Step] = (), keep: Collection[str] = ()
) -> Plan:
    """Plan a pipeline for frames that are as ``raw`` says.

    Parameters
    ----------
    pipeline:
        The declared pipeline.
    raw:
        What the detector delivers.
    steps:
        Tasks, by name, in front of ``input``.
    keep:
        Nodes whose output is wanted as it is, so that they are not merged with what follows.

    Raises
    ------
    ConfigError
        Naming the node at fault.
    """
    before, given = _planned_before(raw, list(steps))
    outcomes: dict[str, Output] = {INPUT: given}
    nodes = []
    for node in pipeline.ordered():
        inputs = [_frames_of(node, parent, outcomes[parent]) for parent in node.after]
        nodes.append(_planned(node, tuple(inputs)))
        outcomes[node.name] = nodes[-1].output
    _check_paths(pipeline)
    return Plan(raw, tuple(before), given, tuple(merged(nodes, keep)))


def _planned_before(raw: Spec, steps: list[Step]) -> tuple[list[PlannedNode], Spec]:
    """Plan what comes in front of ``input``: a chain whose last node bears that name."""
    nodes: list[PlannedNode] = []
    given = raw
    for count, (name, fields) in enumerate(steps, start=1):
        title = INPUT if count == len(steps) else f"{INPUT}-{count}"
        parent = nodes[-1].name if nodes else RAW
        node = _planned(Node(title, registry.task(name)(**fields), (parent,)), (given,))
        if not isinstance(node.output, Spec):
            raise TypeError(f"{name} in front of input must yield frames")
        nodes.append(node)
        given = node.output
    return nodes, given


def _planned(node: Node, inputs: tuple[Spec, ...]) -> PlannedNode:
    if node.task.nb_inputs != len(inputs):
        raise ConfigError(
            f"{node.task.task_name()} gets frames from {node.task.nb_inputs} node(s)",
            node=node.name,
            field="after",
            value=list(node.after),
            allowed=f"{node.task.nb_inputs} name(s)",
        )
    try:
        output = node.task.plan(*inputs)
    except ConfigError as error:
        raise error.at(node.name) from error.__cause__
    return PlannedNode((node.name,), node.task, node.after, inputs, output, node.on_error)


def _frames_of(node: Node, parent: str, outcome: Output) -> Spec:
    if isinstance(outcome, Spec):
        return outcome
    raise ConfigError(
        f"{parent!r} yields no frames that another node could get",
        node=node.name,
        field="after",
        value=parent,
        allowed="a node that yields frames",
    )


def _check_paths(pipeline: Pipeline) -> None:
    """Refuse two sinks that would write the same files."""
    paths: dict[str, str] = {}
    for node in pipeline:
        if isinstance(node.task, Sink) and (path := node.task.path()):
            other = paths.setdefault(os.path.realpath(path), node.name)
            if other != node.name:
                raise ConfigError(
                    f"writes the same files as {other!r}",
                    node=node.name,
                    field="prefix",
                    value=path,
                    allowed="another folder or prefix",
                )


def merged(nodes: Sequence[PlannedNode], keep: Collection[str]) -> list[PlannedNode]:
    """Let neighbours that can share one pass over memory share it."""
    result: list[PlannedNode] = []
    children: Mapping[str, int] = {
        node.name: sum(node.name in other.after for other in nodes) for node in nodes
    }
    for node in nodes:
        first = next((n for n in result if node.after == (n.name,)), None)
        if (
            first is None
            or children[first.name] != 1
            or first.name in keep
            or first.on_error != node.on_error
            or (task := first.task.merged(node.task)) is None
        ):
            result.append(node)
            continue
        members = first.members + node.members
        both = PlannedNode(members, task, first.after, first.inputs, node.output, node.on_error)
        result[result.index(first)] = both
    return result
