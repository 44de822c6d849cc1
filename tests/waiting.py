"""Waiting in tests: for something that holds soon, and never without a bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest


def until(condition: Callable[[], object], bound: float = 60.0) -> None:
    """Ask until something holds, each time a moment later; fail when it does not in time."""
    deadline, pause = time.monotonic() + bound, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it does not hold within {bound:g} s")
        pause.wait(0.02)
