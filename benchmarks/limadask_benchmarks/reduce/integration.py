"""Azimuthal integration against pyFAI, in turn with it on one core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from limadask_benchmarks.reduce.rounds import Case
from limadask_benchmarks.results import Figure, paired

SIDE, BINS = 2048, 1000
FRAMES, ROUNDS = 4, 9


def integration(
    say: Callable[[str], object],
    side: int = SIDE,
    bins: int = BINS,
    frames: int = FRAMES,
    rounds: int = ROUNDS,
) -> list[Figure]:
    """Measure curves of square Poisson frames, uint16, with and without pyFAI's Poisson errors.

    Parameters
    ----------
    say:
        Is told what goes on.
    side, bins:
        Rows and columns of a frame, and points of a curve.
    frames, rounds:
        Frames that each program integrates in its turn, and how many turns there are.

    Raises
    ------
    RuntimeError
        When the results differ by more than 1e-5: then no figure is worth anything.
    """
    rates: dict[str, list[tuple[float, float]]] = {}
    for case in _cases(side, bins, frames, rounds):
        mine, other = frames / case.own, frames / case.peer
        rates.setdefault(case.what, []).append((mine, other))
        say(
            f"{case.what}: {mine:.1f} frames/s, pyFAI ({case.method}) {other:.1f}: "
            f"{mine / other:.2f}; results agree to {case.difference:.1e}"
        )
    return [paired(what, pairs) for what, pairs in rates.items()]


def _cases(*numbers: int) -> Iterator[Case]:
    """Yield what a process of its own measures: on one core, with one thread each."""
    core = sorted(os.sched_getaffinity(0))[-1]
    program = [sys.executable, "-m", "limadask_benchmarks.reduce.rounds", *map(str, numbers)]
    environment: dict[str, Any] = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(  # noqa: S603
        program,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    ) as process:
        try:
            for line in process.stdout or ():
                yield Case(**json.loads(line))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"{program[2]} ended with {process.returncode}; see above")
