"""How often a block costs a large allocation once all is warm: never, if all memory is used again.

What counts is every call of the C library's ``malloc``, ``calloc``, ``realloc``, aligned ones and
anonymous ``mmap`` of 64 KiB or more, whoever makes it: NumPy, Python, HDF5 or compiled code.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from limadask_benchmarks.memory.cases import BLOCKS, CASES
from limadask_benchmarks.memory.counting import Site, compiled, environment
from limadask_benchmarks.results import Figure

Say = Callable[[str], object]
SHOWN = 5
"""Who allocates most often, as far as it is told."""


def allocations(say: Say, names: Sequence[str] = tuple(CASES)) -> list[Figure]:
    """Count allocations per block; the ratio is (limit + 1) ÷ (count + 1), 1 if it just holds."""
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder))
        if library is None:
            say("allocations: not counted, there is no compiler of C here")
            return []
        return [_figure(name, sites_of(name, library), say) for name in names]


def sites_of(name: str, library: Path) -> list[Site]:
    """Return who allocates in a case.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    program = [sys.executable, "-m", "limadask_benchmarks.memory.cases", name]
    done = subprocess.run(  # noqa: S603 - our own program
        program, env=environment(library), capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr}")
    return [Site(**one) for one in json.loads(done.stdout)]


def _figure(name: str, sites: Sequence[Site], say: Say) -> Figure:
    limit = CASES[name].limit
    per_block = sum(one.count for one in sites) / BLOCKS
    say(f"{name}: {per_block:g} allocations of 64 KiB and more a block, at most {limit} wanted")
    for one in sorted(sites, key=lambda one: -one.count)[:SHOWN]:
        say(f"    {one.count / BLOCKS:g} a block, {one.nbytes >> 20} MiB in all: {one.where}")
    ratio = (limit + 1) / (per_block + 1)
    return Figure(f"allocations_{name}", round(per_block, 2), limit, round(ratio, 3), BLOCKS)
