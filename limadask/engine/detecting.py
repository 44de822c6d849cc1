"""The detector of a run: started, stopped, and given back when it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from limadask.engine.messages import dumps
from limadask.engine.port import WorkerError
from limadask.engine.watch import stalled

if TYPE_CHECKING:
    from limadask.engine.run import Run

logger = logging.getLogger(__name__)
EXPOSING = ("acquiring", "paused")
"""States of a detector that is started, and not told to end."""


async def start(run: Run) -> None:
    """Start the receivers, then the detector; what goes wrong makes the run fail."""
    run.began = time.time()
    run.recording.begin()  # first of all: frames lie between values then
    try:
        async with asyncio.timeout(run.bounds.command):
            asked = (run.ask(one.address, "start") for one in run.crew.receivers)
            await asyncio.gather(*asked)
            await run.ask(run.crew.receivers[0].address, "start_detector")
    except TimeoutError:
        text = f"it took longer than {run.bounds.command:.0f} s{run.crew.unanswered()}"
        error = stalled(run, "start", text)
        run.fail(str(error), dumps(error))
    except WorkerError as error:
        run.fail(error.text, error.pickled)
    except OSError as error:
        run.fail(f"the detector cannot be reached: {error}")


async def complete(run: Run) -> None:
    """Take note of the last exposure; a detector that one alone may hold is free by then."""
    run.recording.stop()
    if not run.prepares_ahead:
        await give_back(run)
    if run.detector.allows("complete"):
        run.detector.happen("complete")
    await give_back(run)


async def follow_pauses(run: Run) -> None:
    """Pause or resume the detector, as its state says; one after the other."""
    async with run.turn:
        wanted = run.detector.current == "paused"
        if wanted == run.is_paused or run.detector.current not in EXPOSING:
            return
        run.is_paused = wanted
        asked = (
            ask_gently(run, one, "pause", resume=not wanted) for one in run.crew.living_receivers
        )
        await asyncio.gather(*asked)
    run.advance()


async def stop(run: Run, abort: bool) -> None:
    """Stop the detector after this frame, or now."""
    asked = (ask_gently(run, one, "stop", abort=abort) for one in run.crew.living_receivers)
    await asyncio.gather(*asked)


async def halt(run: Run) -> None:
    """Stop the detector now and wait, not for long, for its receivers to end."""
    await stop(run, abort=True)
    if run.began:
        await run.until(lambda: not run.crew.receives, run.bounds.settling(run.stalled))
    await give_back(run)
    run.detector.happen("halted")


async def give_back(run: Run) -> None:
    """Give the detector back, for the next acquisition; once is enough."""
    if run.gave_back:
        return
    run.gave_back = True
    await asyncio.gather(*(_give_back(run, one) for one in run.crew.living_receivers))


async def _give_back(run: Run, worker: str) -> None:
    try:
        async with asyncio.timeout(run.bounds.command):
            run.recording.take_all(await run.ask(worker, "give_back") or ())
    except (TimeoutError, WorkerError, OSError):  # what has come is not spoiled by it
        logger.warning("%s keeps its detector", run.crew.name(worker), exc_info=True)


async def ask_gently(run: Run, worker: str, operation: str, **message: Any) -> None:
    """Ask a worker for something that must not stop us: trouble is noted, not raised."""
    name, bound = run.crew.name(worker), run.bounds.command
    try:
        async with asyncio.timeout(bound):
            await run.ask(worker, operation, **message)
    except TimeoutError:
        text = f"it took longer than {bound:.0f} s on {name}"
        run.note(str(stalled(run, operation, text)))
    except WorkerError as error:
        run.note(f"{operation} on {name}: {error.text}")
    except OSError as error:
        run.note(f"{operation}: {name} cannot be reached: {error}")
