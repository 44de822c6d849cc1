"""Pipelines: declared, planned, compiled, and run without Dask."""

from limadask.pipeline.inline import Processed, process
from limadask.pipeline.naming import counted, named
from limadask.pipeline.outcome import Failure, Outcome
from limadask.pipeline.parts import Partition, partition
from limadask.pipeline.pipeline import INPUT, Node, Pipeline
from limadask.pipeline.plan import Plan, PlannedNode, plan
from limadask.pipeline.program import Program, Walk

__all__ = [
    "INPUT",
    "Failure",
    "Node",
    "Outcome",
    "Partition",
    "Pipeline",
    "Plan",
    "PlannedNode",
    "Processed",
    "Program",
    "Walk",
    "counted",
    "named",
    "partition",
    "plan",
    "process",
]
