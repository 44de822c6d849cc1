"""What a process has begun and not ended: threads, children, sockets, files."""

from __future__ import annotations

import gc
import threading
import time

import psutil

PATIENCE = 5.0
"""Seconds that what is closed may take to be gone."""
LOOK = 0.02


class Leftovers:
    """Tells what has been added to this process since it was made."""

    def __init__(self) -> None:
        self._before = _all()

    def found(self) -> set[str]:
        """Return what is left in words, once nothing more goes or patience ends."""
        deadline = time.monotonic() + PATIENCE
        while True:
            gc.collect()
            left = _all() - self._before
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(LOOK)


def _all() -> set[str]:
    process = psutil.Process()
    found = {f"thread {one.name} ({one.ident})" for one in threading.enumerate()}
    found |= {f"process {one.pid}" for one in process.children(recursive=True)}
    found |= {f"file {one.path} ({one.fd})" for one in process.open_files()}
    found |= {
        f"socket {one.laddr} ({one.fd})"
        for one in process.net_connections()
        if one.status != "NONE"
    }
    return found
