"""Closing a run: files closed, ledger complete, everything written down."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from limadask.engine.port import WorkerError
from limadask.engine.standing import waterfall_of
from limadask.engine.watch import stalled
from limadask.events import FileClosed
from limadask.frames import Status

if TYPE_CHECKING:
    from limadask.engine.run import Run


async def close(run: Run) -> None:
    """Wait for what is being processed, close the files, and write the ledger down."""
    crew, bounds = run.crew, run.bounds
    settle = bounds.settling(run.stalled)
    if run.is_aborting:
        for worker in crew.living_receivers:
            run.send(worker, "limadask-drop")
        # the detector's end says how far the frame numbers went
        await run.until(lambda: run.detector.ended, settle)
    if not await run.until(lambda: not crew.tickets, settle):
        text = f"blocks that have not come back within {settle:.0f} s: {len(crew.tickets)}"
        run.note(str(stalled(run, "processing", text)))
    run.tell_progress()
    try:
        async with asyncio.timeout(bounds.close):
            if run.ready:
                await _close_sinks(run)
            _finish_ledger(run)
            if not run.error and (reason := run.excess()):
                run.note(reason)
            if run.ready and crew.living_processors:
                await _join(run)
    except TimeoutError:
        text = f"it took longer than {bounds.close:.0f} s{crew.unanswered()}"
        run.note(str(stalled(run, "closing", text)))
    except WorkerError as error:
        run.note(f"closing the files: {error.text}")
    except OSError as error:
        run.note(f"closing the files: a worker cannot be reached: {error}")
    run.ended = time.time()
    run.processing.happen("spoiled" if run.error else "closed")


async def _close_sinks(run: Run) -> None:
    """Close every worker's sinks; where some are lost, the files tell what was saved."""
    run.parts = defaultdict(list)
    workers = run.crew.living_processors
    asked = (run.ask(worker.address, "close") for worker in workers)
    answers = await asyncio.gather(*asked, return_exceptions=True)  # one by one many take long
    for worker, answer in zip(workers, answers, strict=True):
        if isinstance(answer, OSError):  # it died just now: its files tell what it had saved
            run.crew.lose(worker.address)
            continue
        if isinstance(answer, BaseException):
            raise answer
        for receipt in answer["receipts"]:
            if reason := run.account.take_results({**receipt, "worker": worker.address}):
                run.note(reason)
        for trouble in answer["trouble"]:
            run.note(trouble)
        run.recording.take_all(answer["parcels"])
        run.consumption.take(worker.name, answer["resources"])
        for node, part in answer["parts"].items():
            run.parts[node].append(part)
    living = run.crew.living_processors
    if run.crew.lost and living:  # the files win over the ledger
        # those of living workers too: Dask forgets a block being processed when its receiver dies
        lost = run.crew.lost_ranks
        ranks = [rank for rank in range(len(run.crew.processors)) if rank not in lost] + lost
        found = await run.ask(living[0].address, "found", ranks=ranks)
        for part, fates in found:
            run.account.find(part, fates)
        run.tell_saved_frames()


def _finish_ledger(run: Run) -> None:
    """Give every frame that is still pending its cause."""
    received = "stopped" if run.is_aborting else "worker_lost"
    missing = "stopped" if run.stopped or run.is_aborting else "detector"
    if run.options.receivers > 1 and not run.crew.lost:
        received = missing  # one was ahead of the other, or nobody knew of the frame
    if run.stalled:
        received = missing = "timeout"
    if _lost_frames(run):
        received = missing = "receiver_lost"
    for presumed in run.account.presumed:
        first, stop, step, cause = presumed
        run.account.ledger.mark(first, stop, Status.ABSENT, cause, step)
    seen = max(run.crew.seen, run.account.last() + 1)
    run.account.finish(seen, received, missing)


def _lost_frames(run: Run) -> bool:
    """Tell whether frames may have been lost with their receiver, and are not told already."""
    crew, deal = run.crew, run.options.deal(0)
    if deal.dispatch == "partial":
        return not crew.living_receivers
    return crew.lost_a_receiver and deal.step == 1


async def _join(run: Run) -> None:
    """Let one worker make one whole of all parts."""
    crew, ledger = run.crew, run.account.ledger
    if run.began:
        run.recording.look_now()
    record = {
        "uuid": run.uuid,
        "state": run.outcome,
        "nb_frames": len(ledger),
        "ledger": ledger.dump(),
        "started": int(run.began * 1e9),
        "ended": int(time.time() * 1e9),
        "workers": [one.name for one in crew.processors],
        "receivers": [one.name for one in crew.receivers],
        "error": run.error,
        "series": run.recording.dump(),
        "statistics": run.recording.statistics(),
        "settings": {**run.settings, **run.consumption.settings},
        "waterfall": waterfall_of(run),
    }
    made: dict[str, Any] = {"files": {}, "trouble": ["no worker is left that could"]}
    for worker in crew.living_processors:
        try:
            made = await run.ask(worker.address, "join", parts=dict(run.parts), record=record)
            break
        except OSError:  # it died just now: let another one do it
            crew.lose(worker.address)
    run.files = made["files"]
    for trouble in made["trouble"]:
        run.note(f"closing the files: {trouble}")
    for node, path in run.files.items():
        run.publish(FileClosed, node=node, path=path)
