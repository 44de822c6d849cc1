"""How a client asks, and for how long it waits for an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed import Client

from limadask.errors import StalledError

ANSWER = 15.0
"""Seconds that a scheduler or a worker may take; Dask itself tries for 30 to reach a dead one."""
LOOK = 2.0
"""Seconds between two looks whether a scheduler that takes its time is alive."""


async def soon(client: Client, operation: str, message: dict[str, Any]) -> Any:
    """Ask the scheduler what it can answer at once."""
    async with asyncio.timeout(ANSWER):
        return await getattr(client.scheduler, f"limadask_{operation}")(**message)


async def at_last(client: Client, operation: str, message: dict[str, Any]) -> Any:
    """Ask the scheduler for what takes its time, as long as it answers something else at once."""
    asked = asyncio.ensure_future(getattr(client.scheduler, f"limadask_{operation}")(**message))
    try:
        while not (await asyncio.wait([asked], timeout=LOOK))[0]:
            await soon(client, "runs", {})
        return asked.result()
    finally:
        asked.cancel()


def unanswered(who: str, address: str, what: str, last_frame: int) -> StalledError:
    """Return the error of a question that nobody answers."""
    text = f"{address} has not answered {what!r} within {ANSWER:.0f} s"
    return StalledError(who, last_frame, f"{text}; check its process and its load")
