"""One series of images, from the moment it is armed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from limadask.errors import StateError
from limadask_detectors.dectris.plan import Plan
from limadask_detectors.dectris.readiness import ARMED
from limadask_detectors.dectris.simplon import Simplon, SimplonError
from limadask_detectors.dectris.triggers import Triggers
from limadask_detectors.dectris.watch import Watch

QUICK = 0.3
"""Seconds that a control unit may take to stop: who stops does not wait."""
MARGIN = 10.0
"""Seconds that a trigger may take longer than its images."""

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
    period:
        Seconds from one frame to the next.
    is_ours:
        Whether we control it; else others do, and we only look.
    """

    def __init__(self, connect: Connect, plan: Plan, period: float, is_ours: bool = True) -> None:
        self._connect, self._plan, self._is_ours = connect, plan, is_ours
        self._watch = Watch(lambda: connect(MARGIN), begun=is_ours)
        self._triggers: Triggers | None = None
        if is_ours and plan.mode in ("internal", "software"):
            limit = plan.images * period + MARGIN
            self._triggers = Triggers(lambda: connect(limit), plan.triggers)
        self._asked, self._has_ended = 0, False

    @property
    def fault(self) -> str:
        """Why it cannot go on, empty while it can."""
        if self._has_ended or self.is_over:
            return ""
        return (self._triggers.fault if self._triggers else "") or self._watch.fault

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
            self._command(lambda api: _abort(api) if abort else _cancel(api))
        self._end()

    def close(self) -> None:
        """End the threads, and disarm what is still armed."""
        was_over = self.is_over and not self._has_ended
        self._end()
        if self._is_ours and not was_over:
            self._command(_abort)

    def _command(self, command: Callable[[Simplon], object]) -> None:
        try:
            with self._connect(QUICK) as api:
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
    if api.state() in ARMED:
        api.command("disarm")


def _abort(api: Simplon) -> None:
    """Let it end at once, unless it has ended."""
    if api.state() in ARMED:
        api.command("abort")
