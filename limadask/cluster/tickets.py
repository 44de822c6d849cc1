"""The tasks that Dask runs: one for each block and placement.

Their arguments are a few bytes: the plan is on the worker already. They return nothing, and
raise nothing: what came of a block travels in its receipt.
"""

from __future__ import annotations

from typing import Any

from distributed import get_worker

from limadask.cluster.transfer import SharedBlock
from limadask.engine.blocks import Answer, Ending

RECEIVE, BEGIN = "receive", "begin"
"""Labels of the tasks that wait for a block which another task will process, and of those that
begin a block which goes node by node."""


def ticket_key(label: str, uuid: str, ticket: int) -> tuple[str, int]:
    """Return the key of a ticket's task; the dashboard shows the label, without the uuid."""
    return (f"{label}-{uuid}", ticket)


async def receive_and_process(uuid: str, ticket: int) -> None:
    """Wait for a block and process it where it was received."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return
    answer = await host.block(uuid, ticket, host.address)
    await host.process(uuid, ticket, answer)


async def receive(uuid: str, ticket: int, processor: str) -> Answer | SharedBlock:
    """Wait for a block that another worker will process."""
    host = get_worker().extensions.get("limadask")
    if host is None:
        return Ending.ABSENT
    answer = await host.block(uuid, ticket, processor)
    handed: Answer | SharedBlock = host.transfers.hand_over(uuid, answer, processor)
    return handed


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
    return get_worker().extensions["limadask"].held(uuid, node, number)


async def process(block: Answer | SharedBlock, uuid: str, ticket: int) -> None:
    """Process a block that another worker has received."""
    host = get_worker().extensions.get("limadask")
    if host is not None:
        await host.process(uuid, ticket, await host.transfers.take(uuid, ticket, block))
