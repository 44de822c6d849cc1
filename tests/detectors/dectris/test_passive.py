"""Passive receivers follow series that somebody else arms, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from pulling import first, numbers, order, receiver, taken

from limadask.detector import End, Frame, Lost
from limadask.errors import ConfigError
from limadask.testing import Leftovers
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.sender import Sender
from limadask_detectors.dectris import handover
from limadask_detectors.dectris.receiver import DectrisReceiver


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = Sender("stream2", Images((48, 64)))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def linger(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let connections wait for the next receiver, not for long where a test does not say."""

    def setting(seconds: float) -> None:
        monkeypatch.setattr(handover, "LINGER", seconds)

    setting(0.05)
    return setting


def passive(sender: Sender) -> AbstractContextManager[DectrisReceiver]:
    return receiver(sender, "", passive=True)


@pytest.mark.parametrize("has_start", [True, False])
def test_the_first_series_that_is_seen_is_taken(sender: Sender, has_start: bool) -> None:
    with passive(sender) as pulling:
        sender.send(order(series=6, frames=0, start=False))  # only its end
        sender.send(order(series=7, start=has_start))
        assert numbers(taken(pulling)) == list(range(10))
    assert pulling.dropped == 1


def test_no_series_is_lost_where_receivers_follow_each_other(
    sender: Sender, linger: Callable[[float], None]
) -> None:
    """Each has as many images as its number says."""
    linger(30)
    with passive(sender) as pulling:
        for number in (1, 2, 3):  # while the first still takes the first
            sender.send(order(series=number, frames=number, end=number != 2))
        assert numbers(taken(pulling)) == [0]
    for number in (2, 3):
        with passive(sender) as pulling:
            assert numbers(taken(pulling)) == list(range(number))
    sender.wait_for(0)
    with passive(sender) as pulling:
        sender.send(order(series=4, frames=4))
        assert numbers(taken(pulling)) == list(range(4))


def test_the_next_receiver_may_be_there_before_the_last_one_goes(sender: Sender) -> None:
    with passive(sender) as last:
        sender.send(order(series=1, frames=1))
        assert numbers(taken(last)) == [0]
        with passive(sender) as following:
            last.close()
            sender.send(order(series=2, frames=2))
            assert numbers(taken(following)) == [0, 1]
    assert following.dropped == 0


def test_what_is_left_of_a_series_is_not_the_next_one(sender: Sender) -> None:
    with passive(sender) as pulling:
        sender.send(order(series=5, end=False))
        assert isinstance(first(pulling), Frame)
        pulling.stop(abort=True)
    sender.wait_for(0)
    with passive(sender) as pulling:
        sender.send(order(series=5, frames=3, start=False))
        sender.send(order(series=6, frames=2))
        assert numbers(taken(pulling)) == [0, 1]
    assert pulling.dropped == 4


def test_a_detector_that_counts_from_the_beginning_again_is_followed(
    sender: Sender, linger: Callable[[float], None]
) -> None:
    linger(30)
    with passive(sender) as pulling:
        sender.send(order(series=40, frames=3, end=False))
        sender.send(order(series=1, frames=2))
        assert numbers(taken(pulling)) == [0, 1, 2]
    with passive(sender) as pulling:
        assert numbers(taken(pulling)) == [0, 1]


def test_the_same_number_again_is_another_series_once_it_starts(sender: Sender) -> None:
    for _ in range(2):
        with passive(sender) as pulling:
            sender.send(order(series=1, frames=3))
            assert numbers(taken(pulling)) == [0, 1, 2]
        sender.wait_for(0)


def test_what_nobody_comes_for_is_not_kept(sender: Sender) -> None:
    with passive(sender) as pulling:
        sender.send(order(series=1, frames=1))
        sender.send(order(series=2, frames=3))
        assert numbers(taken(pulling)) == [0]
    sender.wait_for(0)
    with passive(sender) as pulling:
        sender.send(order(series=3, frames=2))
        assert numbers(taken(pulling)) == [0, 1]


def test_images_that_were_announced_and_do_not_come_are_told(sender: Sender) -> None:
    with passive(sender) as pulling:
        sender.send(order(frames=6, lose=[2, 4, 5]))
        items = taken(pulling)
    assert numbers(items) == [0, 1, 3]
    assert [one for one in items if isinstance(one, Lost)] == [Lost(4, 5, "detector")]


def test_a_stop_does_not_wait_for_the_series_of_others(sender: Sender) -> None:
    with passive(sender) as pulling:
        sender.send(order(end=False))
        assert isinstance(first(pulling), Frame)
        pulling.stop(abort=False)
        assert pulling.take(1.0) == End()


def test_several_cannot_be_passive() -> None:
    with pytest.raises(ConfigError, match="cannot agree"):
        DectrisReceiver("v1", "tcp://127.0.0.1:1", 0, 2, passive=True)


def test_nothing_is_left_open(sender: Sender) -> None:
    with passive(sender) as pulling:
        sender.send(order())
        first(pulling)
    sender.wait_for(0)
    before = Leftovers()
    with passive(sender) as pulling:
        sender.send(order(series=2))
        first(pulling)
    pulling.close()
    assert before.found() == set()
