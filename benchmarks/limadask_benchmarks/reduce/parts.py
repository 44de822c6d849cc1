"""The parts of the benchmark; each is one module here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from limadask_benchmarks.parts import check_parts
from limadask_benchmarks.reduce.integration import integration
from limadask_benchmarks.reduce.sparsify import sparsify
from limadask_benchmarks.results import Figure

Say = Callable[[str], object]
PARTS: Mapping[str, Callable[[Say], list[Figure]]] = {
    "integration": integration,
    "sparsify": sparsify,
}
"""The parts by name; each is told where to say what goes on."""


def reduce(say: Say, parts: Sequence[str] = ()) -> list[Figure]:
    """Measure ``parts``, all where none is named.

    Raises
    ------
    BadParameter
        When there is no such part.
    """
    check_parts(parts, PARTS)
    return [figure for one in parts or PARTS for figure in PARTS[one](say)]
