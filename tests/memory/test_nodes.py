"""NUMA nodes: which cores and cards are near which memory, on computers that this one is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.errors import ConfigError
from limadask.memory import Fallback, NumaAllocator
from limadask.memory.nodes import _numbers, available, interface_of, node_of, nodes, nodes_of


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer of two nodes with memory, and a third without; a card at the second one."""
    for number, cores, kibibytes in ((0, "0-3,8-11", 1024), (1, "4-7,12-15", 2048), (2, "", 0)):
        folder = tmp_path / f"devices/system/node/node{number}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cores}\n")
        (folder / "meminfo").write_text(
            f"Node {number} MemTotal:  {2 * kibibytes} kB\nNode {number} MemFree: {kibibytes} kB\n"
            f"Node {number} Inactive(file):  1 kB\n"
        )
    for card, text in {"eth0": "1\n", "eth1": "-1\n", "lo": None}.items():
        device = tmp_path / "class/net" / card / "device"
        (device if text else device.parent).mkdir(parents=True)
        if text:
            (device / "numa_node").write_text(text)
    monkeypatch.setattr("limadask.memory.nodes.SYSTEM", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("two_nodes")
def test_cores_cards_and_memory_have_their_nodes() -> None:
    assert nodes() == {
        0: frozenset({0, 1, 2, 3, 8, 9, 10, 11}),
        1: frozenset({4, 5, 6, 7, *range(12, 16)}),
    }
    assert nodes_of({3}) == (0,)
    assert nodes_of({3, 4}) == (0, 1)
    assert nodes_of({99}) == ()
    assert (node_of("eth0"), node_of("eth1"), node_of("lo")) == (1, None, None)
    assert available([1]) == 2049 << 10
    assert available([0, 1]) == (1025 + 2049) << 10
    with pytest.raises(LookupError, match="'eth9' here; there are: eth0, eth1, lo"):
        node_of("eth9")


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"node": 2}, "NUMA node 2 is not there, or has no memory; there are: 0, 1"),
        ({"node": 9}, "NUMA node 9 is not there, or has no memory; there are: 0, 1"),
        ({"interface": "eth9"}, "no network interface 'eth9' here; there are: eth0, eth1, lo"),
        ({"interface": "eth1"}, "does not tell which NUMA node eth1 is attached to"),
        ({"interface": "eth0"}, "(1,) have 2098176 bytes free, 2098177 are needed"),
        ({"node": 1}, "(1,) have 2098176 bytes free, 2098177 are needed"),
    ],
)
def test_memory_that_a_node_has_not_is_plain_and_told(wanted: dict[str, object], said: str) -> None:
    allocator = Fallback(NumaAllocator(**wanted), 1, 2098177)
    assert len(allocator.allocate(2098177)) == 2098177
    assert allocator.name == "pages"
    assert said in allocator.warnings[0]


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.skipif(Path("/sys/devices/system/node/node1").exists(), reason="node 1 is there")
def test_a_node_that_only_the_folder_knows_is_refused_by_the_system() -> None:
    allocator = Fallback(NumaAllocator(interface="eth0"), 1, 4096)
    assert allocator.traits.nodes == (1,)
    allocator.allocate(4096)
    assert (
        "cannot be bound to NUMA nodes (1,): [Errno 22] Invalid argument" in allocator.warnings[0]
    )


def test_here_each_core_has_a_node_and_each_card_one_or_none() -> None:
    assert set(os.sched_getaffinity(0)) <= set().union(*nodes().values())
    found = interface_of("127.0.0.1")
    assert found == "lo"
    assert node_of(found) in {None, *nodes()}
    assert interface_of("192.0.2.1") is None


def test_a_computer_with_one_node_says_so_for_any_card(two_nodes: Path) -> None:
    (two_nodes / "devices/system/node/node1/meminfo").write_text("Node 1 MemTotal: 0 kB\n")
    assert node_of("lo") == node_of("eth1") == 0


@given(st.frozensets(st.integers(0, 200)))
def test_lists_of_cores_are_read_as_the_kernel_writes_them(cores: frozenset[int]) -> None:
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and runs[-1][-1] == core - 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    text = ",".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in runs)
    assert _numbers(f"{text}\n") == cores


def test_node_and_interface_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="a node is given, and an interface"):
        NumaAllocator(node=0, interface="eth0")
