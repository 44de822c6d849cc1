"""A pause between two exposures, for detectors that say that they can."""

from __future__ import annotations

import threading
import time

import pytest

from limadask.testing.rig import Rig
from limadask.testing.subject import STAGES, Subject

PERIOD = 0.02
"""Seconds of an exposure here: pauses are long beside it, and the tests short."""
PAUSE = 10
"""Exposures for which it is paused."""
LATE = 2
"""Frames that may come after a pause was asked for: one is exposed, another on its way."""


class Pausing(Subject):
    """Tests of what a detector does that is paused."""

    def test_a_pause_costs_no_frame_and_is_made_up_for_by_no_burst(self) -> None:
        rig = self._begun()
        try:
            before = self._paused(rig)
            during = _received(rig) - before
            assert during <= LATE, f"{during} frames came while it was paused"
            left, began = self.nb_frames - before - during, time.monotonic()
            assert left, "all frames came before the pause"
            rig.resume()
            rig.wait(self.bound)
            took = time.monotonic() - began
        finally:
            rig.close()
        assert rig.taken[0].numbers == list(range(self.nb_frames))
        assert rig.taken[0].timestamps == sorted(rig.taken[0].timestamps)
        assert took > (left - LATE) * PERIOD, f"{left} frames of {PERIOD} s came in {took:.2f} s"

    @pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
    def test_it_can_be_stopped_while_it_is_paused(self, abort: bool) -> None:
        rig = self._begun()
        try:
            self._paused(rig)
            began = time.monotonic()
            rig.stop(abort)
            rig.wait(self.bound)
            assert time.monotonic() - began < self.stop_latency
        finally:
            rig.close()
        count = len(rig.taken[0].numbers)
        assert rig.taken[0].numbers == list(range(count))
        assert count < self.nb_frames

    def _begun(self) -> Rig:
        """Return a rig at its exposures."""
        detector = self.detector()
        if not detector.capabilities().pauses:
            pytest.skip(f"{type(detector).__name__} does not say that it pauses")
        self.rig(nb_frames=2).run(self.bound)  # what is made once for all is made by now
        rig = self.rig(expo_time=PERIOD)
        for stage in STAGES:
            getattr(rig, stage)()
        return rig

    def _paused(self, rig: Rig) -> int:
        """Pause when a frame has come; return how many there are when that is done."""
        deadline = time.monotonic() + self.bound
        while not _received(rig):
            assert time.monotonic() < deadline, f"no frame within {self.bound} s"
            threading.Event().wait(PERIOD / 4)
        rig.pause()
        before = _received(rig)
        threading.Event().wait(PAUSE * PERIOD)  # that nothing comes takes time to see
        return before


def _received(rig: Rig) -> int:
    return rig.threads[0].progress.received
