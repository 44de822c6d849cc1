"""Bringing a detector to where it can be configured."""

from __future__ import annotations

import logging

from limadask_detectors.dectris.simplon import UNKNOWN, Simplon, SimplonError

INITIALIZE = 300.0
"""Seconds that a detector may take to initialise."""
ARM = 120.0
"""Seconds that a detector may take to arm: it computes corrections for new energies."""
READY, ACQUIRE = "ready", "acquire"
"""States of a detector that is armed: it waits for a trigger, or exposes."""
ARMED = (READY, ACQUIRE)

logger = logging.getLogger(__name__)


def make_idle(api: Simplon, is_ours: bool) -> None:
    """Stop what runs, initialise the detector if it needs it.

    Parameters
    ----------
    api:
        The connection.
    is_ours:
        Whether this process has armed it.

    Raises
    ------
    SimplonError
        When it is not idle after that.
    """
    state = api.state()
    if state in ARMED:
        if not is_ours:
            logger.warning(
                "the detector at %s was found in state %s: a run has not ended, such as one that "
                "crashed, or somebody else uses it; it is stopped", api.host, state,
            )  # fmt: skip
        disarm(api)
        state = api.state()
    if state in ("na", "error"):
        api.command("initialize", INITIALIZE)
        state = api.state()
    if state not in ("idle", UNKNOWN):
        errors = api.find("error", kind="status")
        said = f" ({errors.value})" if errors is not None and errors.value else ""
        raise SimplonError(
            f"the detector at {api.host} is in state {state}{said}, and must be idle to be "
            "configured; wait until it is, or initialise it"
        )


def disarm(api: Simplon) -> None:
    """Disarm the detector if it is armed, and abort what it exposes."""
    state = api.state()
    if state in (*ARMED, UNKNOWN):
        api.command("abort" if state == ACQUIRE else "disarm")


def arm(api: Simplon) -> str:
    """Arm the detector; return the number of the series.

    Raises
    ------
    SimplonError
        When it cannot; it is not left half armed.
    """
    try:
        series = api.command("arm", ARM)
        state = api.state()
        if state not in (*ARMED, UNKNOWN):
            raise SimplonError(
                f"the detector at {api.host} was armed, and is in state {state}; check its errors"
            )
    except SimplonError:
        try:
            api.command("abort")
        except SimplonError as error:
            logger.warning("a detector that could not be armed could not be aborted: %s", error)
        raise
    return series
