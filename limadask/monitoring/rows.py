"""What workers use, in words, a row for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import xarray as xr
from dask.utils import format_bytes

UNKNOWN = "–"
LINE = "{:<12} {:>6} {:>23} {:>11} {:>11} {:>7} {:>7} {:>7}  {}"
"""How a row is laid out in a terminal."""
HEADS = ("worker", "cores", "memory / limit", "read/s", "written/s", "blocks", "queued", "busy")


@dataclass(frozen=True, slots=True)
class StageRow:
    """Memory for frames at one stage; how full it is, and was at most, of 1; frames in files."""

    stage: str
    in_use: str
    allocated: str
    high_water: str
    rate: str
    fill: float
    most: float
    on_disk: str = ""

    @property
    def text(self) -> str:
        """What is in use, in words."""
        return f"{self.stage} {self.in_use} of {self.allocated}{self.on_disk}"


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker; ``cells`` are those of :data:`HEADS`."""

    answers: bool
    host: str
    cells: tuple[str, ...]
    network: str
    stages: tuple[StageRow, ...]
    nodes: tuple[tuple[str, str], ...]


def rows(table: xr.Dataset) -> list[WorkerRow]:
    """Return the rows of what :func:`limadask.resources` returns."""
    return [_row(table.isel(worker=number)) for number in range(table.sizes["worker"])]


def as_text(table: xr.Dataset) -> str:
    """Return the table for a terminal."""
    lines = [LINE.format(*HEADS, "memory for frames: in use of allocated (most)")]
    for row in rows(table):
        stages = "; ".join(f"{one.text} ({one.high_water})" for one in row.stages)
        lines.append(LINE.format(*row.cells, stages if row.answers else "does not answer"))
    return "\n".join(line.rstrip() for line in lines)


def _row(one: xr.Dataset) -> WorkerRow:
    def number(name: str) -> float:
        return float(one[name])

    def count(name: str) -> str:
        return UNKNOWN if math.isnan(number(name)) else f"{number(name):.0f}"

    def nbytes(name: str) -> str:
        return _bytes(number(name))

    cells = (
        str(one["worker"].values),
        UNKNOWN if math.isnan(number("cpu")) else f"{number('cpu'):.2f}",
        f"{nbytes('memory')} / {nbytes('memory_limit')}",
        nbytes("disk_read"),
        nbytes("disk_write"),
        count("blocks_held"),
        count("blocks_queued"),
        f"{count('threads_busy')}/{count('threads')}",
    )
    seconds = zip(one["node"].values, one["seconds"].values, strict=True)
    return WorkerRow(
        bool(one["answers"]),
        str(one["host"].values),
        cells,
        f"{nbytes('network_received')} in, {nbytes('network_sent')} out",
        tuple(_stages(one)),
        tuple((str(node), f"{spent:.3g} s") for node, spent in seconds if spent > 0),
    )


def _stages(one: xr.Dataset) -> Iterator[StageRow]:
    """Yield the stages that have, or had, memory."""
    for stage in one["stage"].values:
        here = one.sel(stage=stage)
        names = ("in_use", "allocated", "high_water", "allocation_rate", "on_disk")
        in_use, allocated, high_water, rate, on_disk = (float(here[name]) for name in names)
        size = max(allocated, high_water)
        if size > 0 or on_disk > 0:
            yield StageRow(
                str(stage), _bytes(in_use), _bytes(allocated), _bytes(high_water), _bytes(rate),
                in_use / max(1, size), high_water / max(1, size),
                f", {_bytes(on_disk)} on disk" if on_disk > 0 else "",
            )  # fmt: skip


def _bytes(value: float) -> str:
    return UNKNOWN if math.isnan(value) else str(format_bytes(int(value)))
