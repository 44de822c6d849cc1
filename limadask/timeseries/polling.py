"""Functions polled in threads of their own: one that raises or hangs harms nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from limadask.errors import ConfigError
from limadask.timeseries.outbox import Outbox, Parcel
from limadask.timeseries.sources import Polled
from limadask.timeseries.value import checked_value

OVERDUE = 5.0
"""Seconds after which a call that has not returned is told of."""
LAST = 0.3
"""Seconds that all last calls together may take at the end."""
LONGEST_REASON = 300
"""Characters of a reason."""


class Polls:
    """Everything that is polled on one worker for one run."""

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._polls: list[_Poll] = []

    def add(self, sources: Mapping[str, Polled]) -> None:
        """Begin to poll functions that return one value each."""
        for name, source in sources.items():
            self.add_group([name], partial(_named, name, source), source.every)

    def add_group(
        self, names: Iterable[str], call: Callable[[], Mapping[str, Any]], every: float
    ) -> None:
        """Begin to poll a function that returns several values by name."""
        poll = _Poll(tuple(names), call, every, self._outbox)
        self._polls.append(poll)
        poll.start()

    def take(self) -> Parcel:
        """Return what has come since the last call; tells of calls that do not return."""
        for poll in self._polls:
            poll.look()
        return self._outbox.take()

    def stop(self) -> None:
        """Poll a last time, without waiting for it."""
        for poll in self._polls:
            poll.stop()

    def end(self) -> Parcel:
        """Poll a last time, not for long; return what has not been taken, or just before.

        A call that hangs is left alone: its thread keeps no process alive.
        """
        self.stop()
        until = time.monotonic() + LAST
        for poll in self._polls:
            poll.join(max(0.0, until - time.monotonic()))
            poll.look(is_last=True)
        self._polls = []
        return self._outbox.close()


def _named(name: str, source: Polled) -> dict[str, Any]:
    return {name: source.function()}


class _Poll(threading.Thread):
    """One function and its thread."""

    def __init__(
        self,
        names: tuple[str, ...],
        call: Callable[[], Mapping[str, Any]],
        every: float,
        outbox: Outbox,
    ) -> None:
        super().__init__(name=f"limadask-poll-{names[0]}", daemon=True)
        self._names, self._call, self._every, self._outbox = names, call, every, outbox
        self._stopped = threading.Event()
        self._texts: dict[str, str] = {}
        self._began: float | None = None
        self._told: float | None = None

    def stop(self) -> None:
        """Call once more, then end."""
        self._stopped.set()

    def look(self, is_last: bool = False) -> None:
        """Tell of a call that has not returned, once."""
        began = self._began
        if began is None or began == self._told:
            return
        lasted = time.monotonic() - began
        if lasted > OVERDUE or is_last:
            self._told = began
            end = " when the run ended" if is_last else ""
            self._miss(f"no answer after {lasted:.1f} s{end}")

    def run(self) -> None:
        """Call, wait, call again."""
        due = time.monotonic()
        while True:
            is_last = self._stopped.is_set()
            self._poll()
            if is_last:
                return
            due = max(due + self._every, time.monotonic())  # what is late is not made up for
            self._stopped.wait(due - time.monotonic())

    def _poll(self) -> None:
        self._began = time.monotonic()
        try:
            values = self._call()
        except Exception as error:  # any user's or plugin's code
            self._miss(f"{type(error).__name__}: {error}")
        else:
            now = time.time_ns()
            for name in self._names:
                self._put(name, now, values.get(name))
        finally:
            self._began = None

    def _put(self, name: str, now: int, value: Any) -> None:
        if value is None:
            self._outbox.put(name, now, None, "no value")
            return
        try:
            known = checked_value(value, name)
        except ConfigError as error:
            self._outbox.put(name, now, None, str(error)[:LONGEST_REASON])
            return
        if isinstance(known, str):
            if self._texts.get(name) == known:  # a state is told when it changes
                return
            self._texts[name] = known
        self._outbox.put(name, now, known)

    def _miss(self, reason: str) -> None:
        now = time.time_ns()
        self._texts.clear()
        for name in self._names:
            self._outbox.put(name, now, None, reason[:LONGEST_REASON])
