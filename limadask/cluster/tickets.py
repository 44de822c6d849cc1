"""The tasks that Dask runs: one for each block and placement.

Their arguments are a few bytes: the plan is on the worker already. They return nothing, and
raise nothing: what came of a block travels in its receipt.
"""

from __future__ import annotations

from typing import Any

from dask.sizeof import sizeof
from distributed import get_worker

from limadask.engine.blocks import Ending
from limadask.engine.port import Ticket
from limadask.frames import Frames

RECEIVE, ASSEMBLE, BEGIN = "receive", "assemble", "begin"
"""Labels of the tasks that wait for a block which another task will process, of those that put
parts of it together, and of those that begin a block which goes node by node."""


def ticket_key(label: str, uuid: str, ticket: int) -> tuple[str, int]:
    """Return the key of a ticket's task; the dashboard shows the label, without the uuid."""
    return (f"{label}-{uuid}", ticket)


def receive_keys(uuid: str, ticket: Ticket) -> dict[str, tuple[str, int]]:
    """Return the keys of the tasks that wait for a block, or for its parts, by worker."""
    if not ticket.others:
        return {ticket.receiver: ticket_key(RECEIVE, uuid, ticket.number)}
    return {
        source: ticket_key(f"{RECEIVE}_{part}", uuid, ticket.number)
        for part, source in enumerate(ticket.sources)
    }


@sizeof.register(Frames)
def _(frames: Frames) -> int:
    return int(frames.pixels.nbytes) + 25 * len(frames) + 200


async def receive_and_process(uuid: str, ticket: int, receiver: str) -> None:
    """Wait for a block and process it where it was received."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return
    answer = await host.block(uuid, ticket, receiver, receiver)
    await host.process(uuid, ticket, answer)


async def receive(uuid: str, ticket: int, receiver: str, processor: str) -> Frames | Ending:
    """Wait for a block that another worker will process."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return Ending.ABSENT
    answer: Frames | Ending = await host.block(uuid, ticket, receiver, processor)
    return answer


async def assemble(uuid: str, ticket: int, *parts: Frames | Ending) -> Frames | Ending:
    """Put together what several workers have received of a block."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return Ending.ABSENT
    answer: Frames | Ending = await host.assemble(uuid, ticket, parts)
    return answer


async def begin(block: Frames | Ending, uuid: str, ticket: int) -> None:
    """Begin to process a block node by node: so that each is seen on the dashboard."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        host.begin(uuid, ticket, block)


async def pass_node(uuid: str, ticket: int, label: str, *before: None) -> None:
    """Take a block that was begun through one node."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        await host.pass_node(uuid, ticket, label)


async def conclude(uuid: str, ticket: int, *before: None) -> None:
    """End a block that went node by node, and leave its receipt."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        await host.conclude(uuid, ticket)


def held_block(uuid: str, node: str, number: int) -> Any:
    """Hand over a block that was held for a user."""
    return get_worker().extensions["limadask"].held(uuid, node, number)


async def process(block: Frames | Ending, uuid: str, ticket: int) -> None:
    """Process a block that another worker has received."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        await host.process(uuid, ticket, block)
