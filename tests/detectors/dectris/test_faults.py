"""What goes wrong with images: each is accounted for, nothing hangs, the next run works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import pytest
from distributed import Client
from emulators.camera import Cameras
from emulators.runs import BOUND, FRAMES, Runs

import limadask as ld
from limadask.engine.receivers import END_GRACE

TWO = ("threshold_1", "threshold_2")
WAYS = pytest.mark.parametrize(("stream", "receivers"), [("v1", 1), ("stream2", 1), ("stream2", 2)])


def because(cause: str, *frames: int) -> dict[int, str]:
    return dict.fromkeys(frames, cause)


@pytest.mark.parametrize(
    ("faults", "absent"),
    [
        ({}, {}),
        ({"corrupt": [0, 7, 19]}, because("decode_error", 0, 7, 19)),
        ({"lose": [0, 5, 6, 19]}, because("detector", 0, 5, 6, 19)),
        ({"duplicate": [0, 7, 19]}, {}),
        ({"late": [0, 7, 8]}, {}),
        ({"misshape": [9, 19]}, because("decode_error", 9, 19)),
        (
            {"corrupt": [3], "lose": [4, 12], "duplicate": [5], "late": [6], "misshape": [11]},
            {**because("decode_error", 3, 11), **because("detector", 4, 12)},
        ),
    ],
    ids=["none", "corrupt", "lost", "twice", "late", "another shape", "all"],
)
@WAYS
def test_images_that_are_no_good_are_absent_and_no_others(
    client: Client,
    tmp_path: Path,
    cameras: Cameras,
    stream: Any,
    receivers: int,
    faults: dict[str, list[int]],
    absent: dict[int, str],
) -> None:
    runs = Runs(client, tmp_path, cameras(stream), receivers)
    runs.camera.faults = faults
    assert runs.absent(runs.finished()) == absent
    assert runs.works()


@pytest.mark.parametrize("stream", ["v1", "stream2"])
def test_what_only_shows_when_it_is_decoded_is_not_saved(
    client: Client, tmp_path: Path, cameras: Cameras, stream: Any
) -> None:
    runs = Runs(client, tmp_path, cameras(stream))
    runs.camera.damaged = [2, 3, 19]
    assert runs.absent(runs.finished()) == because("decode_error", 2, 3, 19)


@pytest.mark.parametrize(
    ("faults", "absent"),
    [
        ({"end": False}, {}),
        ({"start": False}, {}),
        ({"start": False, "end": False}, {}),
        ({"end": False, "lose": [4, 19]}, because("detector", 4, 19)),
        ({"end": False, "lose": list(range(FRAMES))}, because("detector", *range(FRAMES))),
        ({"duplicate": [3], "lose": [5], "end": False}, because("detector", 5)),
    ],
    ids=["no end", "no start", "neither", "no last either", "nothing", "a wrong number"],
)
@WAYS
def test_a_series_whose_messages_are_lost_ends_by_what_control_says(
    client: Client,
    tmp_path: Path,
    cameras: Cameras,
    stream: Any,
    receivers: int,
    faults: dict[str, Any],
    absent: dict[int, str],
) -> None:
    runs = Runs(client, tmp_path, cameras(stream), receivers)
    runs.camera.faults = faults
    assert runs.absent(runs.finished()) == absent


@WAYS
def test_a_run_ends_as_soon_as_each_frame_has_come(
    client: Client, tmp_path: Path, cameras: Cameras, stream: Any, receivers: int
) -> None:
    runs = Runs(client, tmp_path, cameras(stream), receivers)
    assert runs.works()  # by now everything is compiled
    with runs.make() as acquisition:
        acquisition.prepare()
        acquisition.start()
        began = time.monotonic()
        acquisition.wait("acquired", timeout=BOUND)
        assert time.monotonic() - began < END_GRACE


def test_an_image_that_two_receivers_take_does_not_count_for_one_that_is_to_come(
    client: Client, tmp_path: Path, cameras: Cameras
) -> None:
    runs = Runs(client, tmp_path, cameras(), receivers=2)
    assert runs.works()
    runs.camera.takes_time, runs.camera.faults = True, {"duplicate": [0]}
    done = runs.finished(nb_frames=4, expo_time=0.6)
    assert runs.absent(done) == {}
    receivers = set(done.ledger["receiver"].values.tolist())
    assert len(receivers) == 2


@WAYS
def test_images_of_another_shape_than_armed_fail_the_run_and_it_says_what_came(
    client: Client, tmp_path: Path, cameras: Cameras, stream: Any, receivers: int
) -> None:
    runs = Runs(client, tmp_path, cameras(stream), receivers)
    runs.camera.faults = {"misshape": list(range(FRAMES))}
    with runs.make() as acquisition:
        acquisition.prepare()
        acquisition.start()
        with pytest.raises(ld.AcquisitionFailed, match=r"56×64 uint16.*48×64 uint16"):
            acquisition.wait(timeout=BOUND)
    assert len(runs.absent(acquisition)) == FRAMES
    assert runs.works()


@pytest.mark.parametrize("receivers", [1, 2])
def test_a_stream_that_dies_ends_the_run(
    client: Client, tmp_path: Path, cameras: Cameras, receivers: int
) -> None:
    runs = Runs(client, tmp_path, cameras(), receivers)
    runs.camera.cut_after = 8
    absent = runs.absent(runs.finished())
    # what waited in its memory is lost with it
    assert set(range(9, FRAMES)) <= absent.keys()
    assert set(absent.values()) == {"detector"}
    runs.camera.revive()
    assert runs.works()


def test_a_detector_whose_stream_nobody_reaches_ends_the_run(
    client: Client, tmp_path: Path, cameras: Cameras
) -> None:
    runs = Runs(client, tmp_path, cameras())
    runs.camera.images_of.cut()
    assert runs.absent(runs.finished()) == because("detector", *range(FRAMES))
    runs.camera.revive()
    assert runs.works()


@WAYS
def test_images_lost_between_triggers_are_absent(
    client: Client, tmp_path: Path, cameras: Cameras, stream: Any, receivers: int
) -> None:
    runs = Runs(client, tmp_path, cameras(stream), receivers)
    runs.camera.faults = {"lose": [9, 10], "end": False}
    with runs.make(trigger_mode="software", nb_frames_per_trigger=10) as acquisition:
        acquisition.prepare()
        acquisition.start()
        for _ in range(2):
            acquisition.trigger()
        acquisition.wait(timeout=BOUND)
    assert runs.absent(acquisition) == because("detector", 9, 10)


def test_two_thresholds_are_two_bands(client: Client, tmp_path: Path, cameras: Cameras) -> None:
    runs = Runs(client, tmp_path, cameras(bands=TWO), receivers=2)
    runs.camera.config["threshold/2/energy"]["value"] = 12000.0
    runs.camera.faults = {"corrupt": [4]}
    done = runs.finished()
    assert runs.absent(done) == because("decode_error", 4)
    with h5py.File(done.files["file"]) as file:
        images = file["entry/data/images"]
        assert images.shape == (FRAMES, 2, 48, 64)
        assert (images[7] == runs.camera.images.pixels(7)).all()
        told = file["entry/instrument/detector"]
        channels = [told[f"{name}_channel"] for name in TWO]
        assert [one.attrs["NX_class"] for one in channels] == ["NXdetector_channel"] * 2
        assert [one["threshold_energy"][()] for one in channels] == [4000, 12000]
