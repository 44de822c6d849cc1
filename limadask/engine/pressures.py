"""How full the memory of a run's workers is, and what is done about it while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from limadask.engine import detecting
from limadask.events import PressureChanged
from limadask.memory import Level, Pressure

if TYPE_CHECKING:
    from limadask.engine.run import Run


class Pressures:
    """The level of each worker of a run, and of the run: that of its worst worker.

    Parameters
    ----------
    run:
        The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._paused = False
        self.workers: dict[str, Pressure] = {}
        """By address."""

    @property
    def whole(self) -> Pressure:
        """How it is with the run itself."""
        return _worst(self.workers)

    def level_of(self, worker: str) -> Level:
        """Return the level of one worker."""
        return self.workers.get(worker, Pressure()).level

    def take(self, worker: str, level: Level, seconds_left: float) -> None:
        """Take how full a worker is; tell what has changed, and do what the policy says."""
        run = self._run
        if run.is_over or worker not in run.crew:
            return
        before, whole = self.workers.get(worker, Pressure()), self.whole
        now = self.workers[worker] = Pressure(level, seconds_left)
        if now.level != before.level:
            run.publish(
                PressureChanged,
                level=level,
                seconds_left=seconds_left,
                worker=run.crew.name(worker),
            )
        if (now.level, self.whole.level) != (before.level, whole.level):
            run.recording.look_now()
        self._tell(whole)
        self._react()

    def user_pauses(self) -> None:
        """Take note that the user pauses or resumes: that is not to be undone by the policy."""
        self._paused = False

    def lost(self, worker: str) -> None:
        """Take note that a worker is gone, and its memory with it."""
        whole = self.whole
        self.workers.pop(worker, None)
        self._tell(whole)

    def told(self) -> dict[str, Any]:
        """Return it as plain data."""
        crew, known = self._run.crew, {} if self._run.is_over else self.workers
        return {
            **_plain(_worst(known)),
            "workers": {
                crew.name(address): {
                    **_plain(known.get(address, Pressure())),
                    "slots": int(told.get("slots", 0)),
                    "free": int(told.get("free", 0)),
                    "slot_nbytes": int(told.get("slot_nbytes", 0)),
                    "backlog": crew.backlog(address),
                }
                for address in crew.addresses
                for told in [crew.progress.get(address, {})]
            },
        }

    def _tell(self, before: Pressure) -> None:
        now = self.whole
        if now.level != before.level:
            self._run.publish(
                PressureChanged, level=now.level, seconds_left=now.seconds_left, worker=""
            )

    def _react(self) -> None:
        """Do what the policy says; what receivers do by themselves is not told from here."""
        run, level = self._run, self.whole.level
        if run.options.on_overrun == "abort" and level == "overrun":
            full = [address for address, one in self.workers.items() if one.level == "overrun"]
            if run.detector.current in detecting.EXPOSING and full:
                run.fail(_overrun(run, full[0]))
        # frames of deferred runs are not processed however long they are waited for
        if run.options.on_overrun == "pause" and run.processing.current != "deferred":
            self._pause(level)

    def _pause(self, level: Level) -> None:
        """Pause from ``high`` on, and go on at ``ok``, or when everything has been processed."""
        run, state = self._run, self._run.detector.current
        if state == "acquiring" and run.has_started and run.crew.receives and level != "ok":
            self._paused = True
            run.detector.happen("pause")
        elif state == "paused" and self._paused:
            if level == "ok" or not run.crew.is_behind(run.account.done):
                self._paused = False
                run.detector.happen("resume")
        elif state != "paused":
            self._paused = False


def _worst(known: Mapping[str, Pressure]) -> Pressure:
    return max(known.values(), key=lambda one: one.rank, default=Pressure())


def _plain(pressure: Pressure) -> dict[str, Any]:
    left = pressure.seconds_left
    return {"level": pressure.level, "seconds_left": left if isfinite(left) else None}


def _overrun(run: Run, worker: str) -> str:
    """Return in words which memory is full, and what to do."""
    slots = run.crew.progress.get(worker, {}).get("slots", 0)
    return (
        f"the receiver's pool on {run.crew.name(worker)} is full, all its {slots} blocks: frames "
        "come faster than they are processed, and the policy says on_overrun: abort; give it more "
        "memory (buffers.nbytes) or workers (topology.workers), make the tasks or the disk faster, "
        "or choose another policy: wait, pause, drop, hold"
    )
