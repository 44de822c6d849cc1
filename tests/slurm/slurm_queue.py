"""Ask SLURM, and wait for what it does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

BOUND = 60.0


def asked(*command: str) -> str:
    """Return what a command of SLURM prints; nothing while SLURM does not answer."""
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND).stdout


def cancel_all() -> None:
    """Cancel all jobs, and wait until none is left."""
    subprocess.run(["scancel", "--full", *asked("squeue", "-h", "-o", "%i").split()], check=False,
                   capture_output=True, timeout=BOUND)  # fmt: skip
    wait_until(lambda: not asked("squeue", "-h").strip(), "the queue is empty")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, f"not within {BOUND} s: {what}"
        time.sleep(0.05)
