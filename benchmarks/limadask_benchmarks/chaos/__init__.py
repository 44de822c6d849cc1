"""``limadask bench chaos``: processes are killed at random moments; nothing may be lost.

Each run is a cluster of real processes, a client that starts an acquisition, and a process that
logs every acknowledgement as it is sent. The camera loses packets of some frames, and a task raises
for others. After the kill a program that knows only h5py holds every acknowledged frame against the
camera's, every frame called absent against the fill value, and every fate against what it may be.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from limadask_benchmarks.chaos.plan import KINDS, PHASES, TOPOLOGIES, Kill
from limadask_benchmarks.chaos.run import Verdict, expected_frames, run
from limadask_benchmarks.parts import check_parts
from limadask_benchmarks.results import Figure

RUNS = 20


def chaos(
    say: Callable[[str], object],
    runs: int = RUNS,
    seed: int = 0,
    kinds: Sequence[str] = KINDS,
    sabotage: str = "",
    parts: Sequence[str] = ("single",),
) -> list[Figure]:
    """Kill ``runs`` times; ``say`` is told what goes on.

    Parameters
    ----------
    say:
        Told one line for each run.
    runs:
        How many.
    seed:
        Where kinds and moments are drawn from.
    kinds:
        Who is killed, in turn: ``receiver``, ``processor``, ``scheduler``, ``client``, ``local``.
    sabotage:
        ``flush``, ``status`` or ``causes`` breaks the saver on purpose, to see that this finds it.
    parts:
        Topologies of the runs, in turn, see :data:`~limadask_benchmarks.chaos.plan.TOPOLOGIES`.

    Raises
    ------
    BadParameter
        When there is no such topology.
    """
    check_parts(parts, TOPOLOGIES)
    total = Verdict()
    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = expected_frames(folder)
        for number, kill in enumerate(kills(runs, seed, kinds, parts)):
            (folder / str(number)).mkdir()
            verdict = run(kill, folder / str(number), expected, sabotage)
            total += verdict
            done[kill.kind] += 1
            say(f"{number + 1}/{runs} {kill}: {verdict}")
    say(f"{total.faults} faults injected ({_counted(done)})")
    say(f"{total.acknowledged} frames acknowledged before, {total.lost} of them lost")
    say(f"{total.nameless} frames without their status or cause, {total.wrong} with wrong pixels")
    say(f"{total.hangs} hangs, at most {total.longest:.1f} s from a kill to the end of its run")
    return [
        Figure.none_of("frames_lost", total.lost, total.acknowledged),
        Figure.none_of("frames_nameless", total.nameless, total.frames),
        Figure.none_of("frames_wrong", total.wrong, total.frames),
        Figure.none_of("hangs", total.hangs, total.faults),
    ]


def kills(
    runs: int, seed: int, kinds: Sequence[str], topologies: Sequence[str] = ("single",)
) -> Iterator[Kill]:
    """Yield who is killed and when; the same for the same seed."""
    draw = random.Random(seed)
    for number in range(runs):
        kind = kinds[number % len(kinds)]
        phase = PHASES[(number // len(kinds) + 1) % len(PHASES)]
        topology = topologies[number // (len(kinds) * len(PHASES)) % len(topologies)]
        yield Kill(kind, phase, draw.random(), topology)


def _counted(done: Counter[str]) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in sorted(done.items()))
