"""``limadask bench memory``: allocations are counted, each and with who makes it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from click import BadParameter

from limadask_benchmarks.memory import allocations, cases, graphics, huge, parts, slots
from limadask_benchmarks.memory.counting import Site, compiled, environment

MAKES_SOME = """
    import json, mmap, threading
    from dataclasses import asdict
    import numpy as np
    from limadask_benchmarks.memory.counting import counted

    def arrays():
        for _ in range(5):
            np.empty(1 << 16, "u1")
            np.zeros(1 << 17, "u1")
            np.empty((1 << 16) - 1, "u1")

    def others():
        bytes(1 << 20)
        bytearray(b"x") * (1 << 20)
        mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()

    with counted() as sites:
        arrays()
        thread = threading.Thread(target=others)
        thread.start()
        thread.join()
    np.empty(1 << 20)
    print(json.dumps([asdict(site) for site in sites]))
"""

SOAK = pytest.mark.soak


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = compiled(tmp_path_factory.mktemp("counting"))
    if found is None:
        pytest.skip("no compiler of C here")
    return found


def test_large_allocations_are_counted_and_no_others(library: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MAKES_SOME)], env=environment(library),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    sites = [Site(**one) for one in json.loads(done.stdout)]
    by_function: dict[str, tuple[int, int]] = {}
    for one in sites:
        name = one.where.split(" < ")[0].split()[-1]
        count, nbytes = by_function.get(name, (0, 0))
        by_function[name] = count + one.count, nbytes + one.nbytes
    assert by_function["arrays"] == (5, 5 << 16)
    (zeros,) = (one for one in sites if "multiarray" in one.where)  # without Python's lock
    assert (zeros.count, zeros.nbytes) == (5, 5 << 17)
    count, nbytes = by_function["others"]
    assert count == 3
    assert nbytes >= 3 << 20
    assert len(by_function) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "corrected_saved", "decoded", "integrated", "saved_packed",
        *(pytest.param(one, marks=SOAK) for one in ("corrected", "saved", "saved_plain")),
    ],
)  # fmt: skip
def test_what_is_warm_allocates_nothing_large_but_chunks(library: Path, name: str) -> None:
    sites = allocations.sites_of(name, library)
    assert sum(one.count for one in sites) <= cases.CASES[name].limit * cases.BLOCKS, sites


@pytest.mark.slow
def test_a_copy_of_each_block_is_found(library: Path) -> None:
    said: list[str] = []
    (figure,) = allocations.allocations(said.append, ["copied"])
    assert figure.value == 1
    assert figure.ratio == 1.0
    assert any("copied" in line for line in said)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocations, "compiled", lambda folder: None)
    said: list[str] = []
    assert allocations.allocations(said.append) == []
    assert "no compiler" in said[0]


def test_limits_are_those_of_the_issue() -> None:
    limits = {name: case.limit for name, case in cases.CASES.items()}
    assert {name for name, limit in limits.items() if limit} == {
        "corrected_saved", "saved", "copied",
    }  # fmt: skip
    assert limits["saved"] == cases.PER_BLOCK


@pytest.mark.slow
def test_slots_are_measured_against_fresh_memory() -> None:
    said: list[str] = []
    loans, fills = slots.slots(said.append, repeats=1), slots.touch(said.append, repeats=1)
    assert {"lend_pages", "lend_shared"} <= {one.what for one in loans}
    assert [one.what[4:] for one in loans] == [one.what[4:] for one in fills]
    assert all(one.value > 0 and one.repeats == 1 for one in (*loans, *fills))


def test_pages_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(nbytes: int) -> Any:
        raise MemoryError("no pages in one piece")

    monkeypatch.setattr(huge, "_explicit", refuse)
    monkeypatch.setattr(huge, "BLOCKS", 1)
    said: list[str] = []
    (figure,) = huge.huge(said.append, repeats=1)
    assert figure.what == "huge_advised"
    assert "no pages in one piece" in said[-1]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    said: list[str] = []
    assert graphics.graphics(said.append) == []
    assert "there is none here" in said[0]


def test_a_part_that_is_none_is_refused() -> None:
    with pytest.raises(BadParameter, match="slots, touch, transfer, huge, allocations, gpu"):
        parts.memory(print, ["speed"])
