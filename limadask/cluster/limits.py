"""How much memory frames may have on a worker."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
from dask.utils import parse_bytes

PROCESS_NBYTES = 300 << 20
"""Bytes that a worker's process is left at least besides what it holds of frames."""
RESERVE = 0.1
"""Part of a computer's memory that is left to others, where workers have no limit of their own."""
GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""Files of a control group that tell its limit and its use, and what of that can be dropped."""


def budget_nbytes(memory_limit: int | None, neighbours: int, used: int, itself: int = 0) -> int:
    """Return the bytes that frames may have in a worker's process, all stages together.

    Dask begins to spill at 60 % of the limit and pauses at 80 %: pools that brought the process
    there would stop the run for ever, so they leave room for the process itself. Workers without
    a limit have what they use, and an equal share of what is available.

    Parameters
    ----------
    memory_limit:
        What Dask allows the worker, 0 or None for any number.
    neighbours:
        Workers that share its computer, itself among them.
    used:
        Bytes that frames have there now.
    itself:
        Bytes that the process has besides.
    """
    if memory_limit:
        return max(0, int(0.6 * memory_limit) - max(PROCESS_NBYTES, itself))
    available, total = available_nbytes()
    return used + max(0, available - int(RESERVE * total)) // max(1, neighbours)


def pool_nbytes(memory_limit: int | None, left: int | None) -> tuple[int, int | None]:
    """Return the bytes of a receiver's pool: by default, and at most.

    Parameters
    ----------
    memory_limit:
        What Dask allows the worker.
    left:
        What the budget has left.
    """
    default = parse_bytes("1 GiB")
    if memory_limit:
        default = min(default, memory_limit // 4)
    return (default if left is None else min(default, left)), left


def available_nbytes(group: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Return the bytes that are available and all there are, of the computer or control group."""
    memory = psutil.virtual_memory()
    available, total = int(memory.available), int(memory.total)
    for limit, usage, inactive in GROUPS:
        with suppress(OSError, ValueError):  # another version, or "max" where there is no limit
            most = int((group / limit).read_text())
            used = int((group / usage).read_text())
            told = ((group / limit).parent / "memory.stat").read_text().split()
            used -= int(dict(zip(told[::2], told[1::2], strict=True)).get(inactive, 0))
            if most < total:
                return min(available, max(0, most - used)), most
    return available, total
