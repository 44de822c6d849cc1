"""Tests of the contract of detectors; a plugin's tests inherit them."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask.cluster.local import local_client
from limadask.testing.handing_over import HandingOver
from limadask.testing.leftovers import Leftovers
from limadask.testing.misuse import Misuse
from limadask.testing.pausing import Pausing
from limadask.testing.subject import STAGES

OWN = {"builtins", "typing", "types", "limadask", "pydantic", "annotated_types", "numpy",
       "collections", "datetime", "pathlib", "enum"}  # fmt: skip
"""Packages whose types may stand in a plugin's fields, besides its own."""


class DetectorConformance(HandingOver, Misuse, Pausing):
    """What every detector plugin must stand. Give it a :meth:`detector`; the rest has defaults."""

    @pytest.fixture
    def cluster_client(self) -> Iterator[Client]:
        """A client of a cluster with a worker in a process of its own."""
        with local_client(1) as client:
            yield client

    # ---- what it says ---------------------------------------------------------------------------

    def test_it_says_what_it_is(self) -> None:
        detector = self.detector()
        info, can = detector.info(), detector.capabilities()
        assert info.model
        assert np.dtype(info.dtype).kind in "iuf"
        assert len(set(info.bands)) == len(info.bands) > 0
        for module in info.modules:
            assert module.y >= 0 <= module.x
            assert module.y + module.height <= info.shape[0]
            assert module.x + module.width <= info.shape[1]
        low, high = can.expo_time_range
        assert low <= can.default_expo_time <= high
        assert can.latency_time_range[0] <= can.latency_time_range[1]
        assert can.trigger_modes
        assert can.dispatch
        assert 1 in can.binning
        assert ("partial" in can.dispatch) <= bool(info.modules)

    def test_its_parameters_are_plain_data(self) -> None:
        detector = self.detector()
        kind = type(detector)
        again = kind.model_validate_json(detector.model_dump_json())
        assert again == detector
        for name, about in kind.model_json_schema().get("properties", {}).items():
            assert "description" in about, f"{name}: the sentence under a field says what it is"

    def test_no_foreign_type_is_in_its_fields(self) -> None:
        kind = type(self.detector())
        home = {one.__module__.partition(".")[0] for one in kind.__mro__}
        for name, annotation in typing.get_type_hints(kind).items():
            if not name.startswith("_") and name in kind.model_fields:
                for part in _parts(annotation):
                    package = part.__module__.partition(".")[0]
                    assert package in OWN | home, f"{name}: {part} is of {package}"

    def test_it_can_be_imported_without_its_extra(self) -> None:
        kind = type(self.detector())
        missing = "".join(f"sys.modules[{name!r}] = None; " for name in self.extra)
        program = f"import sys; {missing}import {kind.__module__.partition('.')[0]} as package"
        if hasattr(sys.modules[kind.__module__.partition(".")[0]], kind.__name__):
            program += f"; package.{kind.__name__}"
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    # ---- what it takes --------------------------------------------------------------------------

    def test_what_it_took_is_what_it_can(self) -> None:
        detector = self.detector()
        rows, columns = detector.info().shape
        roi = ld.Rect(rows // 4 + 1, columns // 4 + 1, rows // 2, columns // 2)
        for asked in ({}, {"roi": roi}, {"binning": {"y": 2, "x": 2}}, {"flip": "both"}):
            rig = self.rig(**asked)
            try:
                rig.open()
                took, can = rig.prepare(), rig.control.capabilities()
            finally:
                rig.close()
            low, high = can.expo_time_range
            assert low <= took.expo_time <= high
            assert took.trigger_mode in can.trigger_modes
            assert (took.flip == "none") or can.flip
            assert {took.binning.y, took.binning.x} <= set(can.binning)
            if took.roi is not None:
                step = can.roi_step
                assert step, "it has no hardware ROI, and took one"
                assert took.roi.y % step == took.roi.x % step == 0
            rig.spec(rig.deals[0])  # the shape follows from ROI and binning

    def test_prepared_twice_it_takes_the_same(self) -> None:
        rig = self.rig()
        try:
            rig.open()
            once, again = rig.prepare(), rig.prepare()
            # a detector may count its series, and knows what it sends by that number
            assert again.replace(series="") == once.replace(series="")
        finally:
            rig.close()

    # ---- frames ---------------------------------------------------------------------------------

    def test_every_frame_comes_once_and_in_order(self) -> None:
        rig = self.rig()
        (taken,) = rig.run(self.bound)
        assert taken.numbers == list(range(self.nb_frames))
        assert taken.partial == []
        shape, dtype = rig.spec(rig.deals[0]).frame_shape, np.dtype(rig.took.dtype)
        assert {(one.shape, one.dtype) for one in taken.images} == {(shape, dtype)}
        assert taken.timestamps == sorted(taken.timestamps)
        for number, image in enumerate(taken.images):
            expected = self.image(rig.control, number)
            if expected is not None:
                np.testing.assert_array_equal(image, expected, str(number))

    def test_a_part_of_the_image_has_the_pixels_of_that_part(self) -> None:
        rows, columns = self.detector().info().shape
        roi = ld.Rect(rows // 4, columns // 4, rows // 2, columns // 2)
        rig = self.rig(nb_frames=4, roi=roi)
        (taken,) = rig.run(self.bound)
        assert taken.numbers == list(range(4))
        window = rig.took.roi or ld.Rect(0, 0, rows, columns)
        for number, image in enumerate(taken.images):
            expected = self.image(rig.control, number)
            if expected is not None:
                np.testing.assert_array_equal(image, expected[:, *window.slices])

    def test_one_run_after_the_other_counts_from_0(self) -> None:
        for _ in range(3):
            (taken,) = self.rig(nb_frames=5).run(self.bound)
            assert taken.numbers == list(range(5))

    @pytest.mark.parametrize("dispatch", ["round_robin", "dynamic", "broadcast", "partial"])
    @pytest.mark.parametrize("receivers", [2, 3])
    def test_several_receivers_take_each_frame_once(self, dispatch: Any, receivers: int) -> None:
        detector = self.detector()
        if dispatch not in detector.capabilities().dispatch:
            pytest.skip(f"{type(detector).__name__} does not deal its frames by {dispatch}")
        modules = len(detector.info().modules)
        if dispatch == "partial" and modules < receivers:
            pytest.skip(f"{type(detector).__name__} has {modules} modules, as it is here")
        rig = self.rig(dispatch, receivers)
        taken = rig.run(self.bound)
        frames = list(range(self.nb_frames))
        if dispatch == "partial":
            assert [one.numbers for one in taken] == [frames] * receivers
            for deal, one in zip(rig.deals, taken, strict=True):
                assert {image.shape for image in one.images} == {rig.spec(deal).frame_shape}
            return
        assert sorted(number for one in taken for number in one.numbers) == frames
        if dispatch != "dynamic":
            dealt = [frames[index::receivers] for index in range(receivers)]
            assert [one.numbers for one in taken] == dealt

    def test_a_trigger_starts_as_many_frames_as_it_says(self) -> None:
        detector = self.detector()
        if "software" not in detector.capabilities().trigger_modes:
            pytest.skip(f"{type(detector).__name__} has no software trigger")
        rig = self.rig(nb_frames=6, trigger_mode="software", nb_frames_per_trigger=3)
        try:
            for stage in STAGES:
                getattr(rig, stage)()
            for _ in range(2):
                rig.trigger()
            rig.wait(self.bound)
        finally:
            rig.close()
        assert rig.taken[0].numbers == list(range(6))

    # ---- ends -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
    def test_a_stop_takes_effect_soon(self, abort: bool) -> None:
        rig = self.rig(nb_frames=0, expo_time=self.expo_time or 1e-2)
        try:
            for stage in STAGES:
                getattr(rig, stage)()
            deadline = time.monotonic() + self.bound
            while not rig.taken[0].numbers:
                assert time.monotonic() < deadline, f"no frame within {self.bound} s"
                threading.Event().wait(0.01)
            rig.stop(abort)
            rig.wait(self.stop_latency)
        finally:
            rig.close()
        count = len(rig.taken[0].numbers)
        assert rig.taken[0].numbers == list(range(count))

    @pytest.mark.parametrize("last", [None, *STAGES], ids=lambda last: f"after {last}")
    def test_it_can_be_closed_at_any_time_and_leaves_nothing(self, last: str | None) -> None:
        self.rig(nb_frames=2).run(self.bound)  # what is made once for all is made by now
        before = Leftovers()
        rig = self.rig(nb_frames=0, expo_time=self.expo_time or 1e-2)
        for stage in STAGES[: STAGES.index(last) + 1] if last else ():
            getattr(rig, stage)()
        if rig.threads:
            rig.stop(abort=True)
            rig.wait(self.bound)
        rig.close()
        rig.close()  # once more harms nobody
        del rig
        assert before.found() == set()

    # ---- on a cluster ---------------------------------------------------------------------------

    def test_it_runs_on_a_cluster_again_and_again(self, cluster_client: Client) -> None:
        for _ in range(2):
            acquisition = ld.Acquisition(
                cluster_client, self.detector(), ld.Pipeline(), nb_frames=self.nb_frames,
                expo_time=self.expo_time,
            )  # fmt: skip
            with acquisition:
                _refuses(acquisition.start, acquisition.trigger, acquisition.stop)
                acquisition.prepare()
                _refuses(acquisition.prepare, acquisition.trigger, acquisition.stop)
                acquisition.start()
                _refuses(acquisition.prepare, acquisition.start)
                acquisition.wait(timeout=3 * self.bound)
                _refuses(acquisition.trigger, acquisition.start, acquisition.stop)
            assert acquisition.record().counts()["present"] == self.nb_frames
            assert acquisition.parameters.hardware is not None


def _refuses(*calls: Callable[[], object]) -> None:
    """See that calls are refused: their time has not come, or is over."""
    for call in calls:
        with pytest.raises(ld.StateError):
            call()


def _parts(annotation: Any) -> Iterator[type]:
    """Yield all types in an annotation."""
    if inspect.isclass(annotation):
        yield annotation
    for one in typing.get_args(annotation):
        if not isinstance(one, str | int | float | bool | None):
            yield from _parts(one)
