"""Waiting for runs, one or many: until all have come so far, or nothing moves any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from limadask.cluster.link import Link
from limadask.engine.watch import ADVICE
from limadask.errors import ConfigError, StalledError

GRACE = 2.0
"""Seconds more that a client waits: the run itself has the first word."""
ENDED = {
    "acquired": (0, {"acquired", "aborted", "failed"}),
    "processed": (1, {"processed", "aborted", "failed"}),
}
"""What one waits for: the place of a side in the state, and the states that end it."""
OVER_TIMEOUT = 60.0
"""Seconds until the files of what has ended must be closed, and the workers have forgotten it."""
MOVING = ("state", "received", "processed", "tickets")
Statuses = Sequence[dict[str, Any]]


def check(until: str) -> None:
    """Refuse what cannot be waited for.

    Raises
    ------
    ConfigError
        It names what can be.
    """
    if until not in ENDED:
        raise ConfigError("nothing to wait for", field="until", value=until, allowed=list(ENDED))


def wait(
    link: Link,
    uuids: Iterable[str],
    until: str,
    timeout: float | None,
    look: Callable[[], Statuses],
    patience: Callable[[], float],
) -> Statuses:
    """Wait until all runs have ended on one side; return where they stand then.

    Parameters
    ----------
    link:
        The way to the coordinator.
    uuids:
        Whose events to look at.
    until:
        A key of ``ENDED``.
    timeout:
        Seconds; None: until nothing has moved for as long as patience lasts.
    look:
        Returns where the runs stand; what it raises ends the wait.
    patience:
        Returns the seconds without any progress that a run may take.

    Raises
    ------
    StalledError
        When it takes too long; it names the stage that does not move.
    """
    place, ends = ENDED[until]
    listener = link.listen(*uuids)
    began = moved = time.monotonic()
    last: Any = None
    while True:
        runs = look()
        late = [run for run in runs if run["state"][place] not in ends]
        if not late:
            return runs
        now = time.monotonic()
        progress = [[run[name] for name in MOVING] for run in runs]
        if progress != last or all(run["waits"] for run in late):  # for others, which are watched
            last, moved = progress, now
        if timeout is not None and now - began > timeout:
            raise stalled(late, f"not {until} within {timeout} s")
        if timeout is None and now - moved > patience() + GRACE:
            raise stalled(late, f"nothing has moved for {now - moved:.0f} s")
        listener.get(timeout=0.2)


def until_over(link: Link, uuids: Iterable[str], look: Callable[[], Statuses]) -> None:
    """Wait until files are closed and workers have forgotten the runs.

    Raises
    ------
    StalledError
        When that takes too long; it names the stage that does not move.
    """
    listener = link.listen(*uuids)
    deadline = time.monotonic() + OVER_TIMEOUT
    while late := [run for run in look() if not run["is_over"]]:
        if time.monotonic() > deadline:
            raise stalled(late, f"did not end within {OVER_TIMEOUT} s")
        listener.get(timeout=0.2)


def stalled(runs: Statuses, what: str) -> StalledError:
    """Return the error of runs that go on, one of which does not move."""
    run = next((one for one in runs if not one["waits"]), runs[0])
    told = f"{run['received']} frames received, {run['processed']} processed"
    if len(runs) > 1:
        told = f"{len(runs)} acquisitions go on, among them {run['uuid']}: {told}"
    stage = run["stage"]
    return StalledError(stage, run["last_frame"], f"{what} ({told}); {ADVICE[stage]}")
