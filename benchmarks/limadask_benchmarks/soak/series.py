"""Short acquisitions in a row: neither the pause between them nor anything else grows."""

from collections.abc import Callable

from limadask_benchmarks.results import Figure


def series(say: Callable[[str], object], runs: int) -> list[Figure]:
    return []
