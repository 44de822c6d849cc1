"""The contract of tasks, and plain functions as tasks."""

from limadask.task.contract import (
    Accumulating,
    Adder,
    ArrayTask,
    Judge,
    Kernel,
    Measure,
    Pixels,
    PixelTask,
    Reduction,
    Task,
    Veto,
    ViewTask,
)
from limadask.task.function import FunctionTask, FunctionVeto, task, veto
from limadask.task.products import (
    Products,
    Values,
    Variable,
    checked,
    dataset,
    empty,
    stacked,
    tabled,
)
from limadask.task.sink import Place, RunRecord, Sink, Writer

__all__ = [
    "Accumulating",
    "Adder",
    "ArrayTask",
    "FunctionTask",
    "FunctionVeto",
    "Judge",
    "Kernel",
    "Measure",
    "PixelTask",
    "Pixels",
    "Place",
    "Products",
    "Reduction",
    "RunRecord",
    "Sink",
    "Task",
    "Values",
    "Variable",
    "Veto",
    "ViewTask",
    "Writer",
    "checked",
    "dataset",
    "empty",
    "stacked",
    "tabled",
    "task",
    "veto",
]
