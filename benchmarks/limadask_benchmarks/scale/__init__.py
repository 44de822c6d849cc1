"""``limadask bench scale``: what several workers cost and gain; each part is one module here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from limadask_benchmarks.parts import check_parts
from limadask_benchmarks.results import Figure
from limadask_benchmarks.scale.rearm import rearm
from limadask_benchmarks.scale.receivers import receivers
from limadask_benchmarks.scale.topologies import topologies
from limadask_benchmarks.scale.transfer import transfer
from limadask_benchmarks.scale.workers import workers

Say = Callable[[str], object]
PARTS: Mapping[str, Callable[[Say], list[Figure]]] = {
    "topologies": topologies,
    "workers": workers,
    "transfer": transfer,
    "rearm": rearm,
    "receivers": receivers,
}
"""The parts by name; each is told where to say what goes on."""


def scale(say: Say, parts: Sequence[str] = ()) -> list[Figure]:
    """Measure ``parts``, all where none is named.

    Raises
    ------
    BadParameter
        When there is no such part.
    """
    check_parts(parts, PARTS)
    return [figure for one in parts or PARTS for figure in PARTS[one](say)]
