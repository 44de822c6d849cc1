"""A receiver's blocks and the tickets that wait for them, against a model."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limadask.engine.blocks import KEPT_TICKETS, Blocks, Ending
from limadask.frames import Frames

PROCESSORS = ("p", "q")
actions = st.lists(
    st.one_of(
        st.just(("deliver", "")),
        st.tuples(st.just("get"), st.sampled_from(PROCESSORS)),
        st.tuples(st.sampled_from(["acknowledge", "again"]), st.integers(0, 30)),
    ),
    max_size=40,
)


def made(first: int, stop: int | None = None) -> Frames:
    """A block that answers for some frame numbers."""
    stop = first + 1 if stop is None else stop
    block = Frames.of(np.zeros((1, 1, 1, 1), "u1"), stop - 1)
    block.span = first, stop
    return block


class Desk:
    """Hands out tickets, and notes what each has got."""

    def __init__(self, credits: dict[str, int], group: int = 0) -> None:
        self.blocks, self.credits = Blocks(credits, group), credits
        self.owners: dict[int, str] = {}
        self.answers: dict[int, Any] = {}
        self.acknowledged: set[int] = set()
        self.delivered: list[Frames] = []

    def get(self, processor: str) -> int:
        ticket = len(self.owners)
        self.owners[ticket] = processor
        self.answers[ticket] = self.blocks.get(ticket, processor)
        return ticket

    def deliver(self, *span: int) -> None:
        self.delivered.append(made(*(span or (len(self.delivered),))))
        self.blocks.deliver(self.delivered[-1])

    def answer(self, ticket: int) -> Any:
        """What the ticket has got, None while it waits."""
        answer = self.answers[ticket]
        if isinstance(answer, asyncio.Future):
            return answer.result() if answer.done() else None
        return answer

    def got(self, ending: bool = False) -> dict[int, Any]:
        answers = {ticket: self.answer(ticket) for ticket in self.owners}
        kinds = Ending if ending else Frames
        return {ticket: one for ticket, one in answers.items() if isinstance(one, kinds)}

    def held(self, processor: str) -> int:
        return sum(
            self.owners[ticket] == processor and ticket not in self.acknowledged
            for ticket in self.got()
        )

    def waits(self, processor: str) -> bool:
        return any(
            owner == processor and self.answer(ticket) is None
            for ticket, owner in self.owners.items()
        )

    def acknowledge(self, ticket: int) -> None:
        self.acknowledged.add(ticket)
        self.blocks.acknowledge(ticket)

    def check(self) -> None:
        got = self.got()
        handed = [id(block) for block in got.values()]
        assert len(set(handed)) == len(handed)  # each block to one ticket
        first = self.delivered[: len(handed)]
        assert set(handed) == {id(block) for block in first}  # in the order they came
        for processor, credit in self.credits.items():
            assert self.held(processor) <= credit
            if len(handed) < len(self.delivered):  # nobody waits for what could be given
                assert self.held(processor) == credit or not self.waits(processor)
        assert self.blocks.delivered == len(self.delivered)
        done = len(self.acknowledged)
        assert self.blocks.unprocessed == len(self.delivered) - done
        undone = {id(block) for block in self.blocks.undone()}
        open_ = [got[ticket] for ticket in sorted(got) if ticket not in self.acknowledged]
        assert undone == {id(block) for block in [*open_, *self.delivered[len(handed) :]]}


@given(actions, st.tuples(st.integers(1, 3), st.integers(1, 3)), st.booleans())
@settings(max_examples=150)
def test_each_block_goes_to_one_ticket_within_its_workers_credit(
    script: list[Any], credit: tuple[int, int], drop: bool
) -> None:
    async def play() -> None:
        desk = Desk(dict(zip(PROCESSORS, credit, strict=True)))
        for action, argument in script:
            if action == "deliver":
                desk.deliver()
            elif action == "get":
                desk.get(argument)
            elif (ticket := argument) in desk.got():
                if action == "acknowledge" and ticket not in desk.acknowledged:
                    desk.acknowledge(ticket)
                elif action == "again":  # a rerun gets the same block, or nothing
                    again = desk.blocks.get(ticket, desk.owners[ticket])
                    done = ticket in desk.acknowledged
                    assert again is (Ending.ABSENT if done else desk.got()[ticket])
            desk.check()
        ready = len(desk.delivered) - len(desk.got())
        waiting = [ticket for ticket in desk.owners if desk.answer(ticket) is None]
        desk.blocks.end(drop)
        if ready and not drop:
            assert desk.got(ending=True) == {}  # blocks are left that may still need a ticket
            desk.check()
        else:
            assert desk.got(ending=True) == dict.fromkeys(waiting, Ending.UNUSED)
        while open_ := [one for one in desk.got() if one not in desk.acknowledged]:
            desk.acknowledge(open_[0])
            for processor in PROCESSORS:
                desk.get(processor)
        for processor in PROCESSORS:
            ticket = desk.get(processor)
            while isinstance(desk.answer(ticket), Frames):
                desk.acknowledge(ticket)
                ticket = desk.get(processor)
        assert desk.blocks.unprocessed == 0
        assert all(desk.answer(ticket) is not None for ticket in desk.owners)

    asyncio.run(play())


def test_a_waiting_ticket_is_served_when_its_block_comes() -> None:
    async def play() -> None:
        desk = Desk({"p": 1})
        ticket = desk.get("p")
        future = desk.answers[ticket]
        assert not future.done()
        desk.deliver()
        assert await asyncio.wait_for(future, 1) is desk.delivered[0]
        assert desk.blocks.get(ticket, "p") is desk.delivered[0]
        desk.acknowledge(ticket)
        assert desk.blocks.get(ticket, "p") is Ending.ABSENT

    asyncio.run(play())


def test_an_ended_ticket_is_not_taken_for_one_far_behind_it() -> None:
    async def play() -> None:
        blocks = Blocks({"p": 2})
        for ticket in (0, KEPT_TICKETS):
            future = blocks.get(ticket, "p")
            assert isinstance(future, asyncio.Future)
            blocks.deliver(made(ticket))
            assert isinstance(await asyncio.wait_for(future, 1), Frames)
            blocks.acknowledge(ticket)
            assert blocks.get(ticket, "p") is Ending.ABSENT

    asyncio.run(play())


def test_a_rerun_of_a_waiting_ticket_waits_for_the_same_block() -> None:
    async def play() -> None:
        desk = Desk({"p": 2})
        ticket = desk.get("p")
        assert desk.blocks.get(ticket, "p") is desk.answers[ticket]
        desk.deliver()
        desk.deliver()
        assert desk.answer(ticket) is desk.delivered[0]
        assert desk.blocks.unprocessed == 2

    asyncio.run(play())


def test_the_worker_that_holds_least_of_its_credit_gets_the_next_block() -> None:
    async def play() -> None:
        desk = Desk({"p": 1, "q": 3})
        for processor in "pppqqq":
            desk.get(processor)
        for _ in range(4):
            desk.deliver()
        owners = {id(block): desk.owners[ticket] for ticket, block in desk.got().items()}
        assert [owners[id(block)] for block in desk.delivered] == ["p", "q", "q", "q"]

    asyncio.run(play())


def test_a_ticket_that_asks_after_the_end_is_unused_and_a_rerun_of_it_absent() -> None:
    async def play() -> None:
        desk = Desk({"p": 1})
        desk.blocks.end()
        ticket = desk.get("p")
        assert desk.answer(ticket) is Ending.UNUSED
        assert desk.blocks.get(ticket, "p") is Ending.ABSENT

    asyncio.run(play())


def test_dropping_leaves_what_is_being_processed() -> None:
    async def play() -> None:
        desk = Desk({"p": 1})
        ticket, waiting = desk.get("p"), desk.get("p")
        desk.deliver()
        desk.deliver()
        desk.blocks.end(drop=True)
        assert desk.answer(ticket) is desk.delivered[0]
        assert desk.answer(waiting) is Ending.UNUSED
        assert [id(one) for one in desk.blocks.undone()] == [id(desk.delivered[0])]

    asyncio.run(play())


@st.composite
def cuts(draw: st.DrawFn) -> list[tuple[int, int]]:
    edges = sorted(draw(st.sets(st.integers(1, 40), min_size=1, max_size=15)) | {0})
    return list(itertools.pairwise(edges))


@given(cuts(), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=100)
def test_frames_that_belong_together_go_to_one_worker(
    spans: list[tuple[int, int]], group: int, seed: int
) -> None:
    async def play() -> None:
        desk, random = Desk({"p": 2, "q": 2}, group), np.random.default_rng(seed)
        for span in spans:
            desk.deliver(*span)
        for turn in range(100):
            desk.get(PROCESSORS[random.integers(2)] if turn < 40 else PROCESSORS[turn % 2])
            open_ = [one for one in desk.got() if one not in desk.acknowledged]
            if open_ and random.random() < 0.7:
                desk.acknowledge(open_[random.integers(len(open_))])
        assert len(desk.got()) == len(spans)
        homes: dict[int, set[str]] = {}
        for ticket, block in desk.got().items():
            for number in range(*block.span):
                homes.setdefault(number // group, set()).add(desk.owners[ticket])
        assert {len(home) for home in homes.values()} == {1}

    asyncio.run(play())


@pytest.mark.parametrize("processor", ["stranger"])
def test_a_worker_without_credit_of_its_own_is_lent_one_block(processor: str) -> None:
    async def play() -> None:
        desk = Desk({"p": 1})
        tickets = [desk.get(processor) for _ in range(2)]
        desk.deliver()
        desk.deliver()
        assert desk.answer(tickets[0]) is desk.delivered[0]
        assert desk.answer(tickets[1]) is None

    asyncio.run(play())


def test_tickets_are_counted_while_they_wait() -> None:
    async def play() -> None:
        desk = Desk({"p": 9})
        desk.get("p")
        desk.get("p")
        assert desk.blocks.tickets == 2
        desk.deliver()
        assert desk.blocks.tickets == 1

    asyncio.run(play())
