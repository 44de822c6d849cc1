"""Preparing a run: from the choice of workers to open files."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from limadask.engine.apart import ApartCrew
from limadask.engine.crew import Crew
from limadask.engine.matching import MatchingCrew
from limadask.engine.messages import dumps
from limadask.engine.options import Options, Timing
from limadask.engine.port import WorkerError, WorkerInfo
from limadask.engine.roles import cast
from limadask.engine.watch import stalled
from limadask.errors import ConfigError

if TYPE_CHECKING:
    from limadask.engine.run import Run


async def prepare(run: Run, workers: list[WorkerInfo]) -> None:
    """Prepare both sides of a run; what goes wrong makes it fail, naming the stage."""
    stage = "choosing workers"
    try:
        async with asyncio.timeout(run.bounds.prepare):
            run.crew = choose(workers, run.options)
            stage = "greeting the workers"
            await _greet(run)
            _go_on(run)
            stage = "opening the receivers"
            endpoints = await _open(run)
            _go_on(run)
            stage = "configuring the detector"
            control = run.crew.receivers[0]
            made = await run.ask(
                control.address,
                "prepare",
                endpoints=endpoints,
                pool_nbytes=(control.pool_nbytes, control.most_nbytes),
            )
            _go_on(run)
            stage = "checking files"
            first = run.crew.processors[0].address
            request, prepared = run.request, made["prepared"]
            checked = await run.ask(
                first, "check", request=request, prepared=prepared, seconds=time.time()
            )
            run.graph = checked["graph"]
            _go_on(run)
            stage = "opening files and compiling"
            run.ready = await _setup(run, prepared, checked["names"])
    except TimeoutError:
        text = f"preparing took longer than {run.bounds.prepare:.0f} s{run.crew.unanswered()}"
        late = stalled(run, stage, text)
        run.fail(str(late), dumps(late))
    except _EndsAlreadyError:
        return
    except WorkerError as error:
        run.fail(error.text, error.pickled)
    except OSError as error:
        lost = ", ".join(run.crew.name(one) for one in run.crew.lost)
        who = f"{lost} gives no sign of life" if lost else "a worker cannot be reached"
        run.fail(f"{stage}: {who} ({error}); check the workers' processes and their load")
    else:
        run.account.ledger.nb_frames = made["nb_frames"]
        run.timing = Timing(**made["timing"])
        run.recording.declare_detector(made["recorded"])
        run.prepares_ahead, run.pauses = made["prepares_ahead"], made["pauses"]
        count = made["nb_frames"]
        run.crew.expect(count and run.options.deal(0).length(count), made["per_block"])
        for side, event in ((run.detector, "armed"), (run.processing, "opened")):
            if side.current == "preparing":  # it may have been aborted meanwhile
                side.happen(event)


def choose(workers: list[WorkerInfo], wanted: Options) -> Crew:
    """Choose the workers of a topology.

    Raises
    ------
    WorkerError
        When there are too few.
    """
    try:
        receivers, processors = cast(workers, wanted)
    except ConfigError as error:
        raise WorkerError(str(error), dumps(error)) from error
    kind = MatchingCrew if wanted.matched else ApartCrew if wanted.apart else Crew
    return kind(receivers, processors)


class _EndsAlreadyError(Exception):
    """The run ends already: nothing more is to be opened."""


def _go_on(run: Run) -> None:
    if run.detector.current != "preparing":
        raise _EndsAlreadyError


async def _greet(run: Run) -> None:
    """Let all workers give signs of life from here on: one that does not counts as dead."""
    await asyncio.gather(*(run.ask(one, "greet") for one in run.crew.addresses))


async def _open(run: Run) -> list[str]:
    count = len(run.crew.receivers)
    return [
        await run.ask(one.address, "open", request=run.request, index=index, count=count)
        for index, one in enumerate(run.crew.receivers)
    ]


async def _setup(run: Run, prepared: bytes, names: dict[str, Any]) -> bytes:
    """Set all workers up at the same time; return what the client is told.

    Where one fails the others are still waited for: what they open is there to be closed.
    """
    crew = run.crew
    ranks = {one.address: rank for rank, one in enumerate(crew.processors)}
    common: dict[str, Any] = {
        "request": run.request,
        "prepared": prepared,
        "label": run.options.label,
        "acquisition_rank": run.rank,
        "ranks": len(ranks),
        "processors": {one.address: one.threads for one in crew.processors},
        "receivers": [one.address for one in crew.receivers],
        "deferred": run.options.deferred,
        "stays": crew.stays,
        "names": names,
    }
    addresses = crew.addresses
    asked = [
        asyncio.ensure_future(run.ask(one, "setup", rank=ranks.get(one), **common))
        for one in addresses
    ]
    await asyncio.gather(*asked, return_exceptions=True)
    answers = {one: task.result() for one, task in zip(addresses, asked, strict=True)}
    run.settings = {crew.name(one): answer["settings"] for one, answer in answers.items()}
    ready: bytes = answers[crew.processors[0].address]["ready"]
    return ready
