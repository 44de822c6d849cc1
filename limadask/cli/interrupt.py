"""What Ctrl-C, and a polite request to end, do while something runs."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from limadask.acquisition.acquisition import Acquisition
from limadask.acquisition.batch import Batch
from limadask.errors import LimadaskError, StateError

ANSWERED = 5.0
"""Seconds for which the answer to a Ctrl-C is waited for when all is over."""
logger = logging.getLogger(__name__)


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
    """Let Ctrl-C stop it after this frame, and abort it the second time.

    A signal comes in the middle of anything, also while this thread holds a lock that an answer
    needs: so others ask, in threads of their own.
    """
    commands: list[Callable[[], None]] = [going.stop, going.abort]
    askers: list[threading.Thread] = []

    def ask(command: Callable[[], None]) -> None:
        try:
            command()
        except StateError:
            commands.clear()  # it is ending by itself
        except LimadaskError:
            logger.exception("Ctrl-C")  # whoever waits is told, too

    def interrupt(_: int, frame: FrameType | None) -> None:
        if not commands:
            raise KeyboardInterrupt
        askers.append(threading.Thread(target=ask, args=(commands.pop(0),), daemon=True))
        askers[-1].start()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for asker in askers:
            asker.join(ANSWERED)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does, so that processes that were started are ended."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
