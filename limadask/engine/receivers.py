"""The receivers of a run, where there are several: those that are lost, and those that may end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limadask.engine import detecting

if TYPE_CHECKING:
    from limadask.engine.run import Run

END_GRACE = 2.0
"""Seconds that a receiver has to end after another one has seen the detector's end."""


def write_off(run: Run) -> None:
    """Call absent what was dealt to receivers that are lost, once their tickets are back."""
    for index in run.crew.take_settled_losses():
        known = run.account.ledger.nb_frames
        count = run.last_frame() + 1 if known is None else known
        if run.options.apart:
            run.account.lose_part(index, count)
            run.tell_saved_frames()
        elif run.options.deal(index).step > 1 and count:
            run.account.mark_absent(index, count, run.options.receivers, "receiver_lost")
            if reason := run.excess():
                run.fail(reason)


def intolerable(run: Run, worker: str) -> str:
    """Return why a run must end now that a worker is lost, empty where it need not.

    Where no frame may be absent, none may lack the part of a receiver that is lost either.

    Parameters
    ----------
    run:
        The run, which does not know it yet.
    worker:
        Who is lost.
    """
    if run.options.max_absent != 0 or not run.crew.is_receiving(worker):
        return ""
    is_partial = run.options.dispatch == "partial"
    if not is_partial and run.crew.living_receivers != [worker]:
        return ""  # whether frames are lost with it is seen when its tickets are back
    what = "a part of every frame" if is_partial else "all frames"
    return (
        f"the receiver on {run.crew.name(worker)} is lost, and with it {what} from here on; "
        "the policy allows no absent frame"
    )


def end_quietly(run: Run) -> None:
    """Let all receivers end, when nothing comes any more: the detector says that it is over."""
    if not run.told_end and run.crew.receives:
        run.told_end = True
        run.spawn(_stop_when_quiet(run))


async def _stop_when_quiet(run: Run) -> None:
    """Stop the receivers when none of them has had a frame for a while, though all had room."""
    crew = run.crew
    while crew.receives:
        count = crew.received
        await run.until(lambda: not crew.receives or is_full(run), END_GRACE)
        has_room = all(one.get("free") != 0 for one in crew.progress.values())
        if is_full(run) or (crew.received == count and has_room):
            await detecting.stop(run, abort=False)
            return


def end_rest(run: Run) -> None:
    """Let all receivers end where one has seen the end, or nothing is left to come."""
    if run.options.dispatch != "dynamic" or run.told_end or not run.crew.receives:
        return
    if run.crew.saw_the_end or is_full(run):
        run.told_end = True
        run.spawn(_stop_rest(run))


async def _stop_rest(run: Run) -> None:
    """Stop the receivers that do not end by themselves: some may still have frames to take."""
    await run.until(lambda: not run.crew.receives or is_full(run), END_GRACE)
    if run.crew.receives:
        await detecting.stop(run, abort=False)


def is_full(run: Run) -> bool:
    """Tell whether each frame has come to one of several receivers, or is known not to come.

    A frame that has come to two of them counts once, as soon as it has been processed.
    """
    account, received = run.account, run.crew.received
    count = account.ledger.nb_frames
    if count is None or run.options.dispatch != "dynamic":
        return False
    if received + account.told_absent < count:  # to count is not for free
        return False
    known = sum(account.ledger.counts().values())
    return known + max(0, received - account.done) >= count
