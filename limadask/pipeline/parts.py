"""A pipeline planned for parts of frames that are processed apart from each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from limadask.detector.share import Step
from limadask.errors import ConfigError
from limadask.frames import Mosaic, Spec, region_of
from limadask.pipeline.pipeline import INPUT, Pipeline
from limadask.pipeline.plan import RAW, Plan, PlannedNode, merged, plan
from limadask.task import Accumulating, Ordered, Products, Sink, Task, Veto


@dataclass(frozen=True, slots=True)
class Partition:
    """The same pipeline for each part of the frames.

    Parameters
    ----------
    parts:
        The plan of each part.
    mosaics:
        By sink: how what it gets of each part makes full frames.
    """

    parts: tuple[Plan, ...]
    mosaics: Mapping[str, Mosaic]


def partition(
    pipeline: Pipeline,
    raw: Spec,
    parts: Sequence[Spec],
    steps: Collection[Step] = (),
    keep: Collection[str] = (),
) -> Partition:
    """Plan a pipeline for parts of frames.

    Parameters
    ----------
    pipeline, raw, steps, keep:
        As for :func:`~limadask.pipeline.plan.plan`, for full frames.
    parts:
        What is received of each part.

    Raises
    ------
    ConfigError
        Naming the node that needs full frames, or whose parts do not fit together.
    """
    names = {node.name for node in pipeline}
    whole = plan(pipeline, raw, steps, keep=names)  # every node by itself
    own = [_planned(whole, part) for part in parts]
    mosaics = {}
    for node in whole.nodes:
        if isinstance(node.task, Sink):
            given = [mine[node.name].inputs[0] for mine in own]
            try:
                mosaics[node.name] = Mosaic.of(node.inputs[0], given)
            except ValueError as error:
                raise _apart(node, str(error)) from error
    plans = [replace(mine, nodes=tuple(merged(mine.nodes, keep))) for mine in own]
    return Partition(tuple(plans), mosaics)


def _planned(whole: Plan, part: Spec) -> Plan:
    """Return the plan of one part; each node has what it needs of its task."""
    specs: dict[str, Spec] = {RAW: part, INPUT: part}
    nodes = []
    for node in whole.before + whole.nodes:
        inputs = tuple(specs[parent] for parent in node.after)
        task = _task_for(node, inputs)
        try:
            output = task.plan(*inputs)
        except ConfigError as error:
            raise error.at(node.name) from error.__cause__
        if isinstance(output, Spec):
            specs[node.name] = output
        nodes.append(replace(node, task=task, inputs=inputs, output=output))
    before = len(whole.before)
    return Plan(part, tuple(nodes[:before]), specs[INPUT], tuple(nodes[before:]))


def _task_for(node: PlannedNode, inputs: Sequence[Spec]) -> Task:
    """Return a node's task for one part.

    Raises
    ------
    ConfigError
        When there is none.
    """
    task = node.task
    joins = not isinstance(task, Sink) or task.joins_parts
    if (
        isinstance(node.output, Products)
        or isinstance(task, Accumulating | Ordered | Veto)
        or not joins
    ):
        raise _apart(node, f"{task.task_name()} needs full frames")
    if isinstance(task, Sink) and any(spec.is_sparse for spec in inputs):
        raise _apart(node, "sparse frames are saved whole")
    try:
        regions = {region_of(*pair) for pair in zip(node.inputs, inputs, strict=True)}
    except ValueError as error:
        raise _apart(node, str(error)) from error
    if len(regions) != 1:
        raise _apart(node, "the parts it gets are not of the same place")
    try:
        return task.for_part(node.inputs[0], *regions)
    except ConfigError as error:
        raise error.at(node.name) from error.__cause__


def _apart(node: PlannedNode, why: str) -> ConfigError:
    return ConfigError(
        f"{why}, and receivers each have a part of every frame: put them together before",
        node=node.name,
        field="task",
        value=node.task.task_name(),
        allowed="a pipeline with the task assemble, or another dispatch",
    )
