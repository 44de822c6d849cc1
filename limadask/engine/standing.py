"""Where a run stands, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limadask.engine.run import Run


def standing(run: Run) -> dict[str, Any]:
    """Return where a run stands: states, counts, times, files and failures."""
    crew, account = run.crew, run.account
    free = {crew.name(one): told.get("free") for one, told in crew.progress.items()}
    return {
        "uuid": run.uuid,
        "state": run.states,
        "outcome": run.outcome,
        "is_over": run.is_over,
        "error": run.error,
        "received": crew.received,
        "processed": account.done,
        "last_frame": run.last_frame(),
        "nb_frames": account.ledger.nb_frames,
        "frames": account.ledger.counts(),
        "tickets": len(crew.tickets),
        "began": run.began,
        "acquired": run.acquired,
        "ended": run.ended,
        "files": run.files,
        "failures": account.failures,
        "seconds": account.timeline.by_node(),
        "latency": account.timeline.latency(),
        "free": free,
        "stage": _stage(run),
        "stall_timeout": run.options.stall_timeout,
        "resources": run.pressures.told(),
        "waits": _waits(run),
    }


def waterfall_of(run: Run) -> dict[str, Any]:
    """Return when the last blocks of a run were at each stage, as plain data."""
    dumped = run.account.timeline.dump()
    names = [run.crew.name(one) for one in dumped["workers"]]
    return {**dumped, "workers": names, "began": run.began, "uuid": run.uuid}


def _waits(run: Run) -> bool:
    """Tell whether it waits for other runs, or for its user, and not for anything of its own."""
    if run.detector.current == "paused":
        return not run.crew.is_behind(run.account.done)
    return run.watch.waits or (run.batch is not None and run.batch.delays(run))


def _stage(run: Run) -> str:
    """Return what it is at, in the words of those who wait for it."""
    detector, processing = run.states
    if detector == "preparing":
        return "prepare"
    if run.is_aborting or processing == "closing":
        return "closing"
    if processing == "deferred" and run.detector.ended:
        return "deferred"
    if detector == "paused" and _waits(run):
        return "paused"
    behind = run.crew.received > run.account.done
    return "processing" if run.detector.ended or behind else "detector"
