"""The names that a pipeline's sinks write under, decided once for all workers of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limadask.errors import ConfigError
from limadask.naming import RUN, Names
from limadask.pipeline.pipeline import Pipeline
from limadask.task import Sink


def counted(pipeline: Pipeline, names: Names) -> dict[str, Any]:
    """Return the fields with the run's number: the next one that is free for all sinks.

    Raises
    ------
    ConfigError
        When a sink's name is no template.
    """
    numbers = [1]
    for node in pipeline:
        if isinstance(node.task, Sink):
            try:
                numbers.append(node.task.next_run(names))
            except ConfigError as error:
                raise error.at(node.name) from error
    return {**names, RUN: max(numbers)}


def named(pipeline: Pipeline, names: Names) -> Pipeline:
    """Return the same pipeline with all fields in its sinks' names filled in.

    Raises
    ------
    ConfigError
        When there is no such field, or what comes out is no name.
    """
    nodes = []
    for node in pipeline:
        if isinstance(node.task, Sink):
            try:
                node = replace(node, task=node.task.named(names))
            except ConfigError as error:
                raise error.at(node.name) from error
        nodes.append(node)
    return Pipeline(nodes)
