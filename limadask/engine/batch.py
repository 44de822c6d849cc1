"""Acquisitions that follow one another: each is prepared while the one before acquires.

Lives in the scheduler's event loop, as the runs do: it needs no client once it has begun.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

from limadask.engine.detecting import EXPOSING
from limadask.engine.port import Port
from limadask.engine.run import Run
from limadask.engine.standing import standing
from limadask.errors import StateError

logger = logging.getLogger(__name__)


class Batch:
    """Runs acquisitions one after the other, in the order they came.

    What becomes of one does not touch the others. Frames of deferred runs are processed one run
    after the other, when that is asked for, or when no further run will come and the last one is
    acquired.

    Parameters
    ----------
    port:
        The cluster.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self.runs: list[Run] = []
        self._acquiring = False
        self._begun = self._jobs = 0
        self._turn = asyncio.Lock()
        self.is_closed = False

    # ---- what users ask for -------------------------------------------------------------------

    def add(self, run: Run) -> None:
        """Take in one more; it is begun when those before it are acquired."""
        run.batch = self
        self.runs.append(run)
        if not self._acquiring:
            self._acquiring = True
            self._port.spawn(self._acquire())
        elif before := self._before():
            before.advance()  # it is waited for: there is something else to do meanwhile

    def process(self) -> None:
        """Process the frames that are held by now."""
        held = [run for run in self.runs if run.processing.current == "deferred"]
        self._jobs += 1
        self._port.spawn(self._process(held))

    def close(self) -> None:
        """Take note that no further run comes: held frames are processed when all are acquired."""
        self.is_closed = True
        if not self._acquiring:
            self.process()

    async def stop(self) -> None:
        """End the exposures: what has come is processed, runs that have not begun never will."""
        self.is_closed = True
        for run in reversed(self.runs):  # or the next would begin meanwhile
            if run.detector.current in ("idle", "preparing", "prepared"):
                await self._gently(run, "abort")
        for run in self.runs:
            if run.detector.current in EXPOSING:
                await self._gently(run, "stop")
        self.close()

    async def abort(self) -> None:
        """End all runs now, also those that have not begun."""
        for run in reversed(self.runs):  # or the next would begin meanwhile
            if not run.is_over:
                try:
                    await run.abort()
                except StateError:
                    logger.debug("acquisition %s ends by itself", run.uuid)

    # ---- where it stands ----------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether all its runs have ended."""
        return all(run.is_over for run in self.runs)

    def delays(self, run: Run) -> bool:
        """Tell whether a run waits for others of the batch, and not for its user."""
        if run.detector.current in ("idle", "preparing", "prepared"):
            return self._acquiring
        return run.processing.current == "deferred" and (self._acquiring or self._jobs > 0)

    def status(self) -> list[dict[str, Any]]:
        """Return where its runs stand, in order."""
        return [standing(run) for run in self.runs]

    # ---- what is done -------------------------------------------------------------------------

    async def _acquire(self) -> None:
        """Prepare and start one after the other, each as soon as may be."""
        while True:
            before = self._before()
            if before is not None:
                await before.until(functools.partial(self._may_go_on, before), None)
            if self._begun == len(self.runs):
                break
            run = self.runs[self._begun]
            await self._gently(run, "prepare")
            if before is not None:
                await before.until(functools.partial(_has_ended, before), None)
            if run.detector.current == "prepared":
                await self._gently(run, "start")
            self._begun += 1
        self._acquiring = False
        if self.is_closed:
            self.process()

    def _before(self) -> Run | None:
        return self.runs[self._begun - 1] if self._begun else None

    def _may_go_on(self, before: Run) -> bool:
        """Tell whether the next can be prepared, or all are acquired."""
        ahead = before.prepares_ahead and self._begun < len(self.runs)
        return ahead or before.detector.ended

    async def _process(self, runs: list[Run]) -> None:
        """Process what some runs hold, one run after the other."""
        try:
            async with self._turn:
                for run in runs:
                    await run.process()
                    await run.until(functools.partial(_is_processed, run), None)
        finally:
            self._jobs -= 1

    async def _gently(self, run: Run, command: str) -> None:
        """Ask a run for something; that it is ending already concerns it alone."""
        try:
            await getattr(run, command)()
        except StateError as error:
            logger.info("acquisition %s of a batch: %s", run.uuid, error)


def _has_ended(run: Run) -> bool:
    return run.detector.ended


def _is_processed(run: Run) -> bool:
    return run.processing.ended
