"""Watches that a run moves: no wait is without a bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from limadask.errors import StalledError

if TYPE_CHECKING:
    from limadask.engine.run import Run

Stage = Literal["detector", "processing"]
ADVICE = {
    "prepare": "check the detector's connection",
    "greeting the workers": "check the workers' processes and their load",
    "opening the receivers": "check the workers that receive, and their network",
    "configuring the detector": "check the detector's connection",
    "checking files": "check the disk",
    "opening files and compiling": "check the disk and the workers' load",
    "start": "check the detector's state and its connection",
    "trigger": "check the detector's state and its connection",
    "stop": "check the detector's state and its connection",
    "release": "check what closes there: the detector, its receiver and the tasks",
    "detector": "check the detector's state and its trigger",
    "paused": "let it go on by resume()",
    "processing": "check the tasks and the workers' load on the dashboard",
    "deferred": "its frames are held: ask for them by process(), its own or its batch's",
    "closing": "check the disk",
}
"""What to look at where a stage stands still."""


class Watch:
    """Notes when a run last moved, and what stands still.

    Parameters
    ----------
    run:
        The run.
    timeout:
        Seconds without progress that are too many, besides three frame periods.
    """

    def __init__(self, run: Run, timeout: float) -> None:
        self._run, self._timeout = run, timeout
        self._last: Any = None
        self._moved = time.monotonic()
        self.processed = 0.0
        """When it was last seen that frames had been processed, seconds of the monotonic clock."""
        self.waits = False
        """Whether its frames wait for those of other runs."""

    def look(self, now: float, others: float = 0.0) -> StalledError | None:
        """Return what to say of a stage that has stood still for too long, if one has.

        Parameters
        ----------
        now:
            Seconds of the monotonic clock.
        others:
            When frames of another run were last processed by the same workers.
        """
        run = self._run
        progress = run.crew.received, run.account.done, len(run.crew.tickets), *run.states
        stage = self._due()
        if self._last is not None and run.account.done != self._last[1]:
            self.processed = now
        if progress != self._last or stage is None:
            self._last, self._moved, self.waits = progress, now, False
            return None
        # its patience begins when the others are done, also when they are gone by the next look
        self.waits = stage == "processing" and others > self._moved
        if self.waits:
            self._moved = others
        waited, patience = now - self._moved, self._timeout + 3 * run.timing.period
        if waited <= patience:
            return None
        counts = f"{run.crew.received} frames received, {run.account.done} processed"
        return stalled(run, stage, f"nothing has moved for {waited:.0f} s ({counts})")

    def _due(self) -> Stage | None:
        """Return the stage that should move, if any; for some triggers nobody knows."""
        run = self._run
        detector, processing = run.states
        if processing not in ("deferred", "processing"):
            return None
        if detector == "paused":
            is_behind = run.crew.is_behind(run.account.done)
            return "processing" if is_behind and processing == "processing" else None
        is_held = processing == "deferred"
        if run.crew.received > run.account.done and not is_held:
            return "processing"
        if detector == "acquiring":
            owed = run.timing.owed(run.triggers)
            return "detector" if owed is None or run.crew.seen < owed else None
        if not run.detector.ended:
            return "detector"
        return None if is_held else "processing"


def stalled(run: Run, stage: str, text: str) -> StalledError:
    """Return the error of a run that waits in vain.

    Parameters
    ----------
    run:
        The run.
    stage:
        A key of ``ADVICE``.
    text:
        What was waited for, and for how long.
    """
    return StalledError(stage, run.last_frame(), f"{text}; {ADVICE[stage]}")
