"""Images into blocks, against a reader that lets go of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from limadask_benchmarks.receive.bench import Bench, Run
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.rates import highest
from limadask_benchmarks.results import Figure, paired, paired_cost

Say = Callable[[str], object]
IMAGES = Images(shape=(2162, 2068), mean=0.3, distinct=128)
"""Those of a detector with 4 Mpixel, a MB when compressed."""
OURS, BARE = "blocks", "drop"
SECONDS = 1.5
"""How long a run lasts."""
REPEATS = 3


def blocks(
    say: Say, images: Images = IMAGES, counts: tuple[int, ...] = (1, 2), repeats: int = REPEATS,
    seconds: float = SECONDS,
) -> list[Figure]:  # fmt: skip
    """Measure rate and CPU for each number of readers."""
    with Bench("stream2", images) as bench:
        return [
            figure for count in counts for figure in _compare(bench, count, repeats, seconds, say)
        ]


def _compare(bench: Bench, count: int, repeats: int, seconds: float, say: Say) -> list[Figure]:
    rates: list[tuple[float, float]] = []
    costs: list[tuple[float, float]] = []
    for _ in range(repeats):
        mine, bare = (_highest(bench, kind, count, seconds) for kind in (OURS, BARE))
        rates.append((mine, bare))
        pace = min(mine, bare) / 2  # at the same rate, or they could not be compared
        runs = [bench.run(kind, count, int(pace * seconds), pace) for kind in (OURS, BARE)]
        costs.append((runs[0].cpu, runs[1].cpu))
        say(_words(count, rates[-1], costs[-1], runs[0]))
    return [paired(f"blocks_{count}", rates), paired_cost(f"blocks_{count}_cpu", costs)]


def _highest(bench: Bench, kind: str, count: int, seconds: float) -> float:
    guess = statistics.median(bench.run(kind, count, 1000).rate for _ in range(3))

    def is_lossless(rate: float) -> bool:
        return bench.run(kind, count, int(rate * seconds), rate).lost == 0

    return highest(is_lossless, guess)


def _words(count: int, rates: tuple[float, float], costs: tuple[float, float], run: Run) -> str:
    mine, bare = rates
    size = run.sent.nbytes / run.sent.frames
    return (
        f"{count} readers, images of {size / 1e6:.2f} MB: {mine:.0f} images/s into blocks, "
        f"{bare:.0f} received and dropped: {mine / bare:.2f}; CPU {costs[0]:.3f} and "
        f"{costs[1]:.3f} s/GB at {run.rate:.0f} images/s; the sender {run.sent.cpu_per_gb:.3f}"
    )
