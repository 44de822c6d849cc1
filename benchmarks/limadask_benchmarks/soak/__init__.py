"""``limadask bench soak``: what runs for long, or again and again, must not grow.

``endless``: an acquisition without end at 80 % of the highest rate, for ``--seconds``. ``series``:
``--runs`` short acquisitions in a row. Memory, file descriptors, threads and shared memory of every
process are looked at all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from click import BadParameter

from limadask_benchmarks.parts import check_parts
from limadask_benchmarks.results import Figure
from limadask_benchmarks.soak.endless import endless
from limadask_benchmarks.soak.leaking import LEAKS
from limadask_benchmarks.soak.series import series

Say = Callable[[str], object]
PARTS = ("endless", "series")
SECONDS = 300
RUNS = 1000


def soak(
    say: Say,
    seconds: int = SECONDS,
    runs: int = RUNS,
    sabotage: str = "",
    parts: Sequence[str] = (),
) -> list[Figure]:
    """Measure ``parts``, all where none is named.

    Parameters
    ----------
    say:
        Told what goes on.
    seconds:
        How long the endless run lasts.
    runs:
        How many acquisitions the series has.
    sabotage:
        ``memory``, ``descriptors`` or ``threads``: what the endless run leaks on purpose, to see
        that it is found.
    parts:
        Which.

    Raises
    ------
    BadParameter
        When there is no such part, or nothing that leaks so.
    """
    check_parts(parts, PARTS)
    if sabotage not in ("", *LEAKS):
        raise BadParameter(f"nothing leaks {sabotage!r}; allowed: {', '.join(LEAKS)}")
    figures: list[Figure] = []
    for part in parts or PARTS:
        figures += endless(say, seconds, sabotage) if part == "endless" else series(say, runs)
    return figures
