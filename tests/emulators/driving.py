"""What the tests of control do again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from limadask.detector import share
from limadask.parameters import AcquisitionParameters, HardwareParameters
from limadask_detectors import Dectris

BOUND = 10.0
"""Seconds that anything may take on a machine that has other things to do."""


def prepared(detector: Dectris, **asked: Any) -> HardwareParameters:
    """Prepare a detector as the core does; return what it took."""
    asked = {"nb_frames": 4, "expo_time": 0.01, **asked}
    shared = share(AcquisitionParameters(**asked), detector.info(), detector.capabilities())
    return detector.prepare(shared.hardware, ())


def until(holds: Callable[[], object], bound: float = BOUND) -> bool:
    """Wait until something holds; return whether it does in time."""
    deadline = time.monotonic() + bound
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def threads() -> list[str]:
    """The names of the threads that our detectors have."""
    return [one.name for one in threading.enumerate() if "limadask-dectris" in one.name]
