"""What Ctrl-C does while something runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from limadask.acquisition.acquisition import Acquisition
from limadask.acquisition.batch import Batch
from limadask.errors import StateError


@contextmanager
def noted() -> Iterator[list[int]]:
    """Note that Ctrl-C was pressed, and go on; pressed again, it ends the program."""
    signals: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interruptible(going: Acquisition | Batch) -> Iterator[None]:
    """Let Ctrl-C stop it after this frame, and abort it the second time."""
    commands: list[Callable[[], None]] = [going.stop, going.abort]

    def interrupt(_: int, frame: FrameType | None) -> None:
        if not commands:
            raise KeyboardInterrupt
        try:
            commands.pop(0)()
        except StateError:
            commands.clear()  # it is ending by itself

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
