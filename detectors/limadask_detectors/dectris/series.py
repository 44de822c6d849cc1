"""One series of images, from the moment it is armed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from limadask.errors import StateError
from limadask_detectors.dectris.plan import Plan
from limadask_detectors.dectris.readiness import READY, disarm
from limadask_detectors.dectris.simplon import Simplon, SimplonError
from limadask_detectors.dectris.triggers import Triggers
from limadask_detectors.dectris.watch import Watch

QUICK = 0.3
"""Seconds that each answer to a stop may take: who stops does not wait."""
CLOSING = 0.8
"""Seconds that each answer may take when it is closed."""
MARGIN = 10.0
"""Seconds that a trigger may take longer than its images."""
LONGEST = 2e6
"""Seconds that can be waited for at all: 23 days, in milliseconds of 31 bits."""

Connect = Callable[[float], Simplon]
"""Opens a connection whose answers may take so many seconds."""

logger = logging.getLogger(__name__)


class Series:
    """An armed series: gives its triggers, looks whether it goes on, stops it.

    Parameters
    ----------
    connect:
        Opens connections.
    plan:
        What it consists of.
    exposure:
        Seconds that the images of one trigger take.
    is_ours:
        Whether we control it; else others do, and we only look.
    """

    def __init__(self, connect: Connect, plan: Plan, exposure: float, is_ours: bool = True) -> None:
        self._connect, self._plan, self._is_ours = connect, plan, is_ours
        self._watch = Watch(lambda: connect(MARGIN), begun=is_ours)
        self._triggers: Triggers | None = None
        if is_ours and plan.mode in ("internal", "software"):
            limit = min(exposure + MARGIN, LONGEST)
            self._triggers = Triggers(lambda: connect(limit), plan.triggers)
        self._asked, self._has_ended = 0, False

    @property
    def fault(self) -> str:
        """Why it cannot go on, empty while it can."""
        triggers = self._triggers
        if self._has_ended or (triggers is not None and triggers.is_over):
            return ""
        return (triggers.fault if triggers is not None else "") or self._watch.fault

    @property
    def is_over(self) -> bool:
        """Whether its last image has been taken."""
        done = self._triggers is not None and self._triggers.is_over
        return self._has_ended or done or self._watch.is_over

    def start(self) -> None:
        """Begin to look, and give the trigger if there is but one of our own."""
        self._watch.start()
        if self._triggers is not None:
            self._triggers.start()
            if self._plan.mode == "internal":
                self._triggers.give()

    def trigger(self) -> None:
        """Give a software trigger, once those before are done.

        Raises
        ------
        StateError
            When none is expected, or no more.
        """
        if self._triggers is None or self._plan.mode != "software":
            raise StateError(f"trigger_mode is {self._plan.mode}: no trigger is given from here")
        if self._asked == self._plan.triggers:
            raise StateError(f"all {self._asked} triggers of the series have been given")
        self._asked += 1
        self._triggers.give()

    def stop(self, abort: bool) -> None:
        """Stop after the frame being exposed, or at once; others' series goes on."""
        if self._is_ours and not self._has_ended and not self.is_over:
            self._command(_abort if abort else _cancel, QUICK)
        self._end()

    def close(self) -> None:
        """End the threads, and disarm what is still armed."""
        was_over = self.is_over and not self._has_ended
        self._end()
        if self._is_ours and not was_over:
            self._command(disarm, CLOSING)

    def _command(self, command: Callable[[Simplon], object], limit: float) -> None:
        try:
            with self._connect(limit) as api:
                command(api)
        except SimplonError as error:
            logger.warning("the detector did not stop at once: %s", error)

    def _end(self) -> None:
        self._has_ended = True
        for thread in (self._triggers, self._watch):
            if thread is not None:
                thread.end()
                if thread.is_alive():
                    thread.join(QUICK)


def _cancel(api: Simplon) -> None:
    """Let it end after the frame being exposed."""
    api.command("cancel")
    if api.state() == READY:  # as though it had just been armed
        api.command("disarm")


def _abort(api: Simplon) -> None:
    """Let it end at once."""
    api.command("abort")
