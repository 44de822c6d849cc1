"""The tasks that Dask runs: one for each block and placement.

Their arguments are a few bytes: the plan is on the worker already. They return nothing, and
raise nothing: what came of a block travels in its receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed import get_worker

from limadask.cluster.transfer import SharedBlock
from limadask.engine.blocks import Answer, Ending
from limadask.engine.port import Ticket

RECEIVE, ASSEMBLE, BEGIN = "receive", "assemble", "begin"
"""Labels of the tasks that wait for a block which another task will process, of those that put
parts of it together, and of those that begin a block which goes node by node."""


def ticket_key(label: str, uuid: str, ticket: int) -> tuple[str, int]:
    """Return the key of a ticket's task; the dashboard shows the label, without the uuid."""
    return (f"{label}-{uuid}", ticket)


def receive_keys(uuid: str, ticket: Ticket) -> dict[str, tuple[str, int]]:
    """Return the keys of the tasks that wait for a block, or for its parts, by worker."""
    parts: Sequence[int | None] = range(len(ticket.sources)) if ticket.others else [None]
    return {
        source: ticket_key(receive_label(part), uuid, ticket.number)
        for part, source in zip(parts, ticket.sources, strict=True)
    }


def receive_label(part: int | None) -> str:
    """Return the label of the tasks that wait for blocks, or for a part of them."""
    return RECEIVE if part is None else f"{RECEIVE}_{part}"


async def receive_and_process(uuid: str, ticket: int, receiver: str) -> None:
    """Wait for a block and process it where it was received."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return
    answer = await host.block(uuid, ticket, receiver, receiver)
    await host.process(uuid, ticket, answer)


async def receive(uuid: str, ticket: int, receiver: str, processor: str) -> Answer | SharedBlock:
    """Wait for a block that another worker will process."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return Ending.ABSENT
    answer = await host.block(uuid, ticket, receiver, processor)
    handed: Answer | SharedBlock = host.transfers.hand_over(uuid, answer, processor)
    return handed


async def assemble(uuid: str, ticket: int, *parts: Answer | SharedBlock) -> Answer:
    """Put together what several workers have received of a block."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return Ending.ABSENT
    taken = [await host.transfers.take(uuid, ticket, part) for part in parts]
    answer: Answer = await host.assemble(uuid, ticket, taken)
    return answer


async def begin(block: Answer | SharedBlock, uuid: str, ticket: int) -> None:
    """Begin to process a block node by node: so that each is seen on the dashboard."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        host.begin(uuid, ticket, await host.transfers.take(uuid, ticket, block))


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
    return get_worker().extensions["limadask"].lasting.take(uuid, node, number)


async def process(block: Answer | SharedBlock, uuid: str, ticket: int) -> None:
    """Process a block that another worker has received."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        await host.process_moved(uuid, ticket, await host.transfers.take(uuid, ticket, block))
