"""Threads on cores: as long as an acquisition wants it, and why not."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.engine.cores import CoreClaim, allowed_cores, claim_one, near_cores, unclaimed
from limadask.engine.pinning import Pinning, _numbers
from limadask.engine.priority import PriorityPool
from limadask.memory.nodes import nodes, nodes_of

HERE = sorted(os.sched_getaffinity(0))
BOUND = 60.0
two_cores = pytest.mark.skipif(len(HERE) < 2, reason="one core is all there is")
_unused = itertools.count(10_000 + 100 * os.getpid(), 100)


@pytest.fixture
def pool() -> Iterator[PriorityPool]:
    made = PriorityPool(2)
    yield made
    made.close()
    assert made.join(BOUND)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let the worker be allowed cores that no other test, nor session, knows of."""

    def pretend(count: int, near: int = 0) -> list[int]:
        base = next(_unused)
        cores = list(range(base, base + count))
        monkeypatch.setattr("limadask.engine.pinning.allowed_cores", lambda: frozenset(cores))
        close = frozenset(cores[:near])
        monkeypatch.setattr("limadask.engine.pinning.near_cores", lambda host: close)
        return cores

    return pretend


def cores_of(pool: PriorityPool) -> list[set[int]]:
    return [os.sched_getaffinity(one) for one in pool.threads]


@two_cores
def test_threads_are_pinned_until_the_acquisition_is_released(pool: PriorityPool) -> None:
    pinning, (first, second) = Pinning(pool), HERE[:2]
    assert pinning.pin("a", (first,)).told() == {"processing": [first]}
    assert cores_of(pool) == [{first}, {first}]
    assert sorted(os.sched_getaffinity(0)) == HERE  # nobody else's
    pinning.release("a")
    assert cores_of(pool) == [set(HERE)] * 2
    assert pinning.pin("b", (second, first)).processing == {first, second}
    pinning.release("b")


@two_cores
def test_the_first_acquisition_has_the_threads_and_the_next_when_it_is_gone(
    pool: PriorityPool,
) -> None:
    pinning, (first, second) = Pinning(pool), HERE[:2]
    pinning.pin("a", (first,))
    same, other, none = (
        pinning.pin("b", (first,)),
        pinning.pin("c", (second,)),
        pinning.pin("d", "none"),
    )
    assert (same.processing, same.warnings) == ({first}, [])
    assert (none.processing, none.warnings) == ({first}, [])  # where they are, not what was asked
    assert other.processing == {first}
    (text,) = other.warnings
    assert f"has the threads on the cores [{first}], not [{second}], until" in text
    for gone, left in (("d", first), ("a", first), ("b", second)):
        pinning.release(gone)
        assert cores_of(pool) == [{left}] * 2
    pinning.release("c")
    assert cores_of(pool) == [set(HERE)] * 2


def test_nothing_is_pinned_where_nothing_is_asked_for(pool: PriorityPool) -> None:
    pinning = Pinning(pool)
    pinning.claim("a", "none", "127.0.0.1")
    found = pinning.pin("a", "none")
    assert (found.told(), found.warnings) == ({}, [])
    assert cores_of(pool) == [set(HERE)] * 2
    pinning.release("a")
    pinning.release("never heard of")


def test_a_receiver_has_a_core_for_itself_near_the_card(
    pool: PriorityPool, pretend: Callable[..., list[int]]
) -> None:
    cores, pinning = pretend(4, near=2), Pinning(pool)
    taken = []
    for uuid in "abcd":
        pinning.claim(uuid, "auto", "127.0.0.1")
        taken += pinning.pin(uuid, "none", processes=False).receiver
    assert taken == [cores[1], cores[0], cores[3], cores[2]]
    pinning.claim("e", "auto", "127.0.0.1")
    none = pinning.pin("e", "auto")
    assert none.told() == {}
    assert "other receivers of this computer have all the cores" in none.warnings[0]
    assert "receivers have all the cores" in none.warnings[1]
    pinning.release("b")
    assert unclaimed(cores) == {cores[0]}
    for uuid in "acde":
        pinning.release(uuid)
    assert unclaimed(cores) == set(cores)


def test_a_worker_with_one_core_shares_it(
    pool: PriorityPool, pretend: Callable[..., list[int]]
) -> None:
    (core,), pinning = pretend(1), Pinning(pool)
    pinning.claim("a", "auto", "127.0.0.1")
    found = pinning.pin("a", "none")
    assert found.told() == {}
    assert f"may use the cores [{core}] alone" in found.warnings[0]


CLAIMING = """
import sys
from limadask.engine.cores import CoreClaim
claim = CoreClaim(int(sys.argv[1]))
print("mine", flush=True)
sys.stdin.readline()
"""


def test_a_core_is_one_receivers_on_the_whole_computer_until_its_process_is_killed() -> None:
    core = next(_unused)
    command = [sys.executable, "-c", CLAIMING, str(core)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        assert unclaimed({core, core + 1}) == {core + 1}
        with pytest.raises(OSError, match="Address already in use"):
            CoreClaim(core)
        assert claim_one([core]) is None
        other = claim_one([core, core + 1])
        assert other is not None
        assert other.core == core + 1
        other.release()
        process.send_signal(signal.SIGKILL)
        assert process.wait(BOUND) == -signal.SIGKILL
    mine = CoreClaim(core)
    mine.release()


def test_cores_that_the_worker_must_not_use_are_left_out_and_named(
    pool: PriorityPool, pretend: Callable[..., list[int]]
) -> None:
    pretend(2)
    pinning = Pinning(pool)
    pinning.claim("a", (HERE[0], 5_000_000), "127.0.0.1")
    found = pinning.pin("a", "none")
    assert found.told() == {}
    assert "affinity.receiver: this computer has no core 5000000" in found.warnings[0]
    assert f"taskset keep the worker from {HERE[0]}; it may use" in found.warnings[1]
    assert "Threads are not pinned" in found.warnings[1]


@given(
    asked=st.frozensets(st.integers(0, 20), min_size=1), allowed=st.frozensets(st.integers(0, 20))
)
def test_what_is_pinned_is_asked_for_and_allowed_and_the_rest_is_told(
    asked: frozenset[int], allowed: frozenset[int]
) -> None:
    warnings: list[str] = []
    found = _numbers("receiver", tuple(asked), allowed, warnings)
    assert found == asked & allowed
    named = [one.split("core ")[-1].split("from ")[-1].split(";")[0] for one in warnings]
    told = {int(number) for one in named for number in one.split(", ")}
    assert told == asked - allowed
    assert all(
        one.endswith(f"pinned to {sorted(found)}" if found else "not pinned") for one in warnings
    )


def test_what_the_system_refuses_is_told(
    pool: PriorityPool, pretend: Callable[..., list[int]]
) -> None:
    cores, pinning = pretend(2), Pinning(pool)
    found = pinning.pin("a", "auto")  # cores that this computer has not
    assert f"the system refuses {cores}: " in found.warnings[0]
    assert found.told() == {}
    assert cores_of(pool) == [set(HERE)] * 2


def test_threads_that_have_ended_are_no_trouble() -> None:
    pool = PriorityPool(1)
    pinning = Pinning(pool)
    pool.close()
    assert pool.join(BOUND)
    assert pinning.pin("a", (HERE[0],)).warnings == []
    pinning.release("a")


def test_allowed_cores_are_those_of_the_process() -> None:
    code = f"import os; os.sched_setaffinity(0, [{HERE[0]}]); "
    code += "from limadask.engine.cores import allowed_cores; print(sorted(allowed_cores()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND, check=True
    )
    assert done.stdout.split() == [f"[{HERE[0]}]"]
    assert sorted(allowed_cores()) == HERE


def test_cores_near_the_loopback_are_those_of_the_only_node() -> None:
    expected = nodes()[0] if len(nodes()) == 1 else frozenset()
    assert near_cores("127.0.0.1") == expected
    assert near_cores("192.0.2.1") == frozenset()
    assert nodes_of(expected) == tuple(nodes())[: bool(expected)]
