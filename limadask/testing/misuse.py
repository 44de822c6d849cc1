"""Calls at odd moments, in an odd order, and from odd threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from limadask.errors import LimadaskError
from limadask.testing.leftovers import Leftovers
from limadask.testing.rig import Rig
from limadask.testing.subject import STAGES, Subject


class Misuse(Subject):
    """Tests of what the core does when a run does not go as it should."""

    def test_it_says_at_once_whether_it_can_go_on(self) -> None:
        rig = self.rig()
        try:
            self._ask(rig, "before all")
            for stage in STAGES:
                getattr(rig, stage)()
                self._ask(rig, f"after {stage}")
            rig.wait(self.bound)
            self._ask(rig, "after its end")
        finally:
            rig.close()
        self._ask(rig, "after close")

    def _ask(self, rig: Rig, moment: str) -> None:
        fault = _soon(rig.control.fault, self.at_once)
        assert isinstance(fault, str), f"fault() is {fault!r} {moment}"
        assert not fault, f"{moment} it cannot go on: {fault}"
        is_over = _soon(rig.control.is_over, self.at_once)
        assert isinstance(is_over, bool), f"is_over() is {is_over!r} {moment}"

    @pytest.mark.parametrize(
        "call", ["start", "trigger", "pause", "resume", "stop", "abort", "close"]
    )
    def test_what_is_not_prepared_refuses_or_does_nothing(self, call: str) -> None:
        """Nobody knows in which state an error has left it: it may be stopped and closed."""
        control = self.rig().control
        calls: dict[str, Callable[[], object]] = {
            "start": control.start,
            "trigger": control.trigger,
            "pause": control.pause,
            "resume": control.resume,
            "stop": lambda: control.stop(abort=False),
            "abort": lambda: control.stop(abort=True),
            "close": control.close,
        }
        refusals = (LimadaskError,) if call in ("start", "trigger") else ()
        try:
            with suppress(*refusals):
                calls[call]()
        finally:
            control.close()

    @pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
    def test_it_can_be_stopped_before_it_starts_and_runs_again(self, abort: bool) -> None:
        self.rig(nb_frames=2).run(self.bound)  # what is made once for all is made by now
        before, rig = Leftovers(), self.rig()
        try:
            for stage in STAGES[:-1]:
                getattr(rig, stage)()
            _soon(partial(rig.stop, abort), self.stop_latency)
        finally:
            rig.close()
        del rig
        assert before.found() == set()
        (taken,) = self.rig(nb_frames=2).run(self.bound)
        assert taken.numbers == [0, 1]

    def test_each_call_may_come_from_another_thread(self) -> None:
        rig = self.rig(nb_frames=4)
        try:
            for stage in STAGES:
                _soon(getattr(rig, stage), self.bound)
            rig.wait(self.bound)
        finally:
            _soon(rig.close, self.bound)
        assert rig.taken[0].numbers == list(range(4))


def _soon(call: Callable[[], Any], bound: float) -> Any:
    """Return what a call returns, made by a thread of its own; it must do so in time."""
    returned: list[Any] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(call())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(bound)
    for error in raised:
        raise error
    assert returned, f"{getattr(call, '__qualname__', call)} has not returned within {bound} s"
    return returned[0]
