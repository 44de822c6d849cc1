"""NUMA nodes of this computer: which cores and which network cards are near which memory."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from pathlib import Path

import psutil

SYSTEM = Path("/sys")


def nodes() -> dict[int, frozenset[int]]:
    """Return the cores of each NUMA node that has memory; empty where the system does not say."""
    found = {}
    for folder in (SYSTEM / "devices/system/node").glob("node[0-9]*"):
        number = int(folder.name.removeprefix("node"))
        if _bytes_of(folder, "MemTotal"):
            found[number] = _numbers((folder / "cpulist").read_text())
    return dict(sorted(found.items()))


def nodes_of(cores: Collection[int]) -> tuple[int, ...]:
    """Return the nodes that some of these cores belong to."""
    return tuple(number for number, own in nodes().items() if own & set(cores))


def node_of(interface: str) -> int | None:
    """Return the node that a network card is attached to; None where there is no telling.

    Raises
    ------
    LookupError
        When there is no such interface; the message names those there are.
    """
    folder = SYSTEM / "class/net" / interface
    if not folder.exists():
        known = ", ".join(sorted(one.name for one in folder.parent.glob("*")))
        raise LookupError(f"there is no network interface {interface!r} here; there are: {known}")
    try:
        number = int((folder / "device/numa_node").read_text())
    except (OSError, ValueError):  # a virtual card
        number = -1
    if number < 0 and len(nodes()) == 1:
        return next(iter(nodes()))
    return number if number >= 0 else None


def interface_of(host: str) -> str | None:
    """Return the network interface that has an address; None where none has."""
    try:
        known = {one[4][0] for one in socket.getaddrinfo(host, None)}
    except OSError:
        return None
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address in known for one in addresses):
            return str(name)
    return None


def available(numbers: Collection[int]) -> int:
    """Return the bytes that can be had on these nodes without swapping, roughly."""
    folders = [SYSTEM / f"devices/system/node/node{number}" for number in numbers]
    return sum(_bytes_of(one, "MemFree") + _bytes_of(one, r"Inactive\(file\)") for one in folders)


def _bytes_of(folder: Path, key: str) -> int:
    found = re.search(rf"{key}: +(\d+) kB", (folder / "meminfo").read_text())
    return int(found[1]) << 10 if found else 0


def _numbers(text: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-3,8``."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)
