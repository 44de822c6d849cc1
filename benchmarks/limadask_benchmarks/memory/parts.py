"""The parts of the benchmark; each is one module here, or another benchmark's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from limadask_benchmarks.memory.allocations import allocations
from limadask_benchmarks.memory.graphics import graphics
from limadask_benchmarks.memory.huge import huge
from limadask_benchmarks.memory.slots import slots, touch
from limadask_benchmarks.parts import check_parts
from limadask_benchmarks.results import Figure
from limadask_benchmarks.scale.transfer import singles

Say = Callable[[str], object]
PARTS: Mapping[str, Callable[[Say], list[Figure]]] = {
    "slots": slots,
    "touch": touch,
    "transfer": singles,
    "huge": huge,
    "allocations": allocations,
    "gpu": graphics,
}
"""The parts by name; each is told where to say what goes on."""


def memory(say: Say, parts: Sequence[str] = ()) -> list[Figure]:
    """Measure ``parts``, all where none is named.

    Raises
    ------
    BadParameter
        When there is no such part.
    """
    check_parts(parts, PARTS)
    return [figure for one in parts or PARTS for figure in PARTS[one](say)]
