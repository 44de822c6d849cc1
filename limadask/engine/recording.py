"""What is recorded of a run while it goes on: series of its sources, and of the run itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from limadask.memory import LEVELS
from limadask.timeseries import Parcel, Recorder

if TYPE_CHECKING:
    from limadask.engine.run import Run

EVERY = 1.0
"""Seconds between two looks at the run itself."""
MOST = 600
"""Numbers kept of each series about the run itself: there are some for every worker."""
DETECTOR, PIPELINE = "detector/", "pipeline/"
"""What names of series begin with that are not the user's."""


class Recording(Recorder):
    """The series of one run, and who polls its sources.

    Parameters
    ----------
    run:
        The run.
    declared:
        Names and units of the user's sources.
    polls:
        Whether some of these are polled, by a worker that processes.
    """

    def __init__(self, run: Run, declared: Mapping[str, str], polls: bool) -> None:
        super().__init__()
        self._run, self._polls = run, polls
        self._poller = ""
        self._looked = float("-inf")
        self._processed = 0, 0.0
        self.rate = 0.0
        """Frames processed per second, in the last second."""
        for name, units in declared.items():
            self.declare(name, units)

    def declare_detector(self, recorded: Mapping[str, str]) -> None:
        """Make room for what the detector tells of itself, names and units."""
        for name, units in recorded.items():
            self.declare(f"{DETECTOR}{name}", units)

    def begin(self) -> None:
        """Let one of the workers that process poll the user's sources; another, if it is lost."""
        living = self._run.crew.living_processors
        if self._polls and living and self._poller not in [one.address for one in living]:
            self._poller = living[0].address
            self._run.send(self._poller, "limadask-poll")

    def stop(self) -> None:
        """Let the user's sources be polled a last time: the last frame is exposed."""
        self._polls = False
        if self._poller:
            self._run.send(self._poller, "limadask-poll", ends=True)

    def lost(self) -> None:
        """Take note that some worker is lost."""
        if self._poller and not self._run.detector.ended:
            self.begin()

    def take_all(self, parcels: Iterable[Parcel]) -> None:
        """Take what a worker has sent."""
        for parcel in parcels:
            self.take(parcel)

    def look(self, now: float) -> None:
        """Look at the run itself, once a second from its start to its end.

        Parameters
        ----------
        now:
            Seconds of the monotonic clock.
        """
        if self._run.began and now - self._looked >= EVERY:
            self._looked = now
            self.look_now()

    def look_now(self) -> None:
        """Look at the run itself."""
        run, stamp = self._run, time.time_ns()
        self._take_rate(run.account.done, time.monotonic())
        for name, units, value in self._seen():
            self.declare(f"{PIPELINE}{name}", units, MOST).add(stamp, float(value))

    def _take_rate(self, done: int, now: float) -> None:
        """Take how fast frames are processed, over no less than half of the time between looks."""
        before, then = self._processed
        if now - then >= EVERY / 2:
            self.rate = (done - before) / (now - then) if then else 0.0
            self._processed = done, now

    def _seen(self) -> Iterable[tuple[str, str, float]]:
        """Yield names, units and values of what is to be seen of the run."""
        run = self._run
        crew, account = run.crew, run.account
        yield "received", "", crew.received
        yield "processed", "", account.done
        yield "absent", "", account.told_absent
        yield "pressure", "", LEVELS.index(run.pressures.whole.level)
        yield "rate", "Hz", self.rate
        if latency := account.timeline.latency():
            yield "latency", "s", latency["median"]
        for address, progress in crew.progress.items():
            title = crew.name(address).replace("/", "|")
            yield f"{title}/received", "", progress.get("received", 0)
            yield f"{title}/backlog", "", crew.backlog(address)
            yield f"{title}/pressure", "", LEVELS.index(run.pressures.level_of(address))
            if "slots" in progress:
                yield f"{title}/pool_free", "", progress["free"]
                yield f"{title}/pool_slots", "", progress["slots"]

    def statistics(self) -> dict[str, Any]:
        """Return what can be said of the whole run, as plain data."""
        run, timeline = self._run, self._run.account.timeline
        acquiring = max(0.0, (run.acquired or time.time()) - run.began) if run.began else 0.0
        return {
            "seconds_by_node": timeline.by_node(),
            "seconds_waiting": timeline.waiting(),
            "latency": timeline.latency(),
            "frames": run.account.ledger.counts(),
            "acquiring_time": acquiring,
            "workers_lost": len(run.crew.lost),
            **run.consumption.dump(),
        }
