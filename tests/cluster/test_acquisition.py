"""An acquisition as its user sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Accumulate, Crop, Flip, Observe, RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]
CAMERA = Simulator(shape=(64, 48), bands=["low", "high"])


def acquisition_of(client: Client, **fields: Any) -> ld.Acquisition:
    fields = {"detector": CAMERA, "pipeline": None, "nb_frames": 20, "expo_time": 1e-3, **fields}
    return ld.Acquisition(client, fields.pop("detector"), fields.pop("pipeline"), **fields)


def test_by_products_are_labelled_and_complete(run: Run) -> None:
    pipe = ld.Pipeline()
    rois = [ld.Rect(2, 3, 10, 12, name="spot"), ld.Arc(32, 24, 5, 15)]
    pipe.add("stats", RoiStatistics(rois=rois))
    stats = run(pipe, CAMERA).data["stats"]
    assert stats.sizes == {"frame": 40, "band": 2, "roi": 2}
    assert stats.band.values.tolist() == ["low", "high"]
    assert stats.roi.values.tolist() == ["spot", "1"]
    for number in range(40):
        part = CAMERA.frame(number).values[:, 2:12, 3:15]
        one = stats.sel(frame=number, roi="spot")
        assert one["sum"].values.tolist() == part.sum(axis=(1, 2)).tolist()
        assert one["count"].values.tolist() == [120, 120]


def test_data_grows_while_it_runs(client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 4, 4)]))
    sizes = []
    with acquisition_of(client, pipeline=pipe, nb_frames=300, expo_time=2e-3) as acquisition:
        acquisition.prepare()
        assert acquisition.data["stats"].sizes["frame"] == 0
        acquisition.start()
        acquisition.wait(told=lambda told: sizes.append(acquisition.data["stats"].sizes["frame"]))
    assert sizes == sorted(sizes)
    assert any(0 < size < 300 for size in sizes)
    assert sizes[-1] == 300


def test_an_unknown_node_lists_those_there_are(run: Run) -> None:
    acquisition = run(ld.Pipeline())
    with pytest.raises(ld.ConfigError, match="no node of this name"):
        acquisition.data["nowhere"]


def test_observation_points_show_the_newest_frames(run: Run) -> None:
    pipe = ld.Pipeline()
    pipe.add("upside_down", Flip(axis="y"))
    pipe.add("live", Observe(history=3, every=10), after="upside_down")
    acquisition = run(pipe, CAMERA)
    latest = acquisition.observe["live"].latest()
    assert latest.dims == ("band", "y", "x")
    assert int(latest.frame) == 30
    assert np.array_equal(latest.values, CAMERA.frame(30).values[:, ::-1])
    assert float(latest.det_y[0, 0]) == 63
    history = acquisition.observe["live"].history()
    assert history.frame.values.tolist() == [10, 20, 30]


def test_observation_is_merged_over_workers(run: Run) -> None:
    pipe = ld.Pipeline()
    pipe.add("live", Observe(history=40))
    acquisition = run(
        pipe, topology=ld.Topology(workers=3), buffers=ld.Buffers(nb_frames_per_block=2)
    )
    assert acquisition.observe["live"].history().frame.values.tolist() == list(range(40))
    assert int(acquisition.observe["live"].latest().frame) == 39


def test_nothing_observed_is_said_so(client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("live", Observe())
    with acquisition_of(client, pipeline=pipe) as acquisition:
        acquisition.prepare()
        with pytest.raises(LookupError, match="has seen no frame yet"):
            acquisition.observe["live"].latest()


def test_futures_bring_every_block_of_a_node(client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("cut", Crop(y=3, x=4, height=20, width=10))
    acquisition = acquisition_of(client, pipeline=pipe, nb_frames=40)
    futures = acquisition.futures("cut", max_held=100)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        blocks = [future.result() for future in futures]
        acquisition.wait()
    whole = xr.concat(blocks, "frame").sortby("frame")
    assert whole.frame.values.tolist() == list(range(40))
    expected = CAMERA.frame(7).values[:, 3:23, 4:14]
    assert np.array_equal(whole.sel(frame=7).values, expected)
    assert (float(whole.det_y[0, 0]), float(whole.det_x[0, 0])) == (3, 4)


def test_a_slow_reader_of_futures_loses_old_blocks_and_nothing_else(client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 4, 4)]))
    acquisition = acquisition_of(
        client, pipeline=pipe, nb_frames=200, buffers=ld.Buffers(nb_frames_per_block=5)
    )
    futures = acquisition.futures("input", max_held=3)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
        late = [future.result().frame.values for future in futures]
    assert len(late) == 3
    assert int(late[-1][-1]) == 199
    assert acquisition.data["stats"].sizes["frame"] == 200


def test_futures_come_in_a_running_event_loop_too(client: Client) -> None:
    async def collect() -> list[int]:
        acquisition = acquisition_of(client, nb_frames=20)
        futures = acquisition.futures("input", max_held=50)
        await asyncio.to_thread(acquisition.prepare)
        await asyncio.to_thread(acquisition.start)
        numbers: list[int] = []
        async for future in futures:
            block = await asyncio.to_thread(future.result)
            numbers += block.frame.values.tolist()
        return sorted(numbers)

    assert asyncio.run(collect()) == list(range(20))


def test_futures_are_refused_after_prepare(run: Run) -> None:
    with pytest.raises(ld.StateError, match="before prepare"):
        run(ld.Pipeline()).futures("input")


def test_events_tell_the_whole_story(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    camera = Simulator(shape=(64, 48), faults={"drop": [5]})
    acquisition = acquisition_of(client, detector=camera, pipeline=pipe)
    with acquisition:
        acquisition.prepare()
        events = acquisition.events()
        acquisition.start()
        told = list(events)
    states = [(one.side, one.state) for one in told if isinstance(one, ld.StateChanged)]
    assert states == [
        ("detector", "acquiring"),
        ("processing", "processing"),
        ("detector", "acquired"),
        ("processing", "closing"),
        ("processing", "processed"),
    ]
    done = [one for one in told if isinstance(one, ld.FramesDone)]
    assert (done[-1].count, done[-1].last) == (19, 19)
    absent = [one for one in told if isinstance(one, ld.FramesAbsent)]
    assert [(one.first, one.last, one.cause) for one in absent] == [(5, 5, "detector")]
    closed = [one for one in told if isinstance(one, ld.FileClosed)]
    assert [(one.node, one.path) for one in closed] == [("file", acquisition.files["file"])]
    assert {one.uuid for one in told} == {acquisition.uuid}


def test_events_can_be_awaited(client: Client) -> None:
    async def collect() -> list[ld.Event]:
        acquisition = acquisition_of(client)
        await asyncio.to_thread(acquisition.prepare)
        events = acquisition.events()
        await asyncio.to_thread(acquisition.start)
        return [event async for event in events]

    told = asyncio.run(collect())
    assert isinstance(told[-1], ld.StateChanged)
    assert told[-1].state == "processed"


def test_calls_in_the_wrong_state_are_refused(client: Client) -> None:
    acquisition = acquisition_of(client)
    assert acquisition.state == ("idle", "idle")
    for call in (acquisition.start, acquisition.stop, acquisition.trigger, acquisition.wait):
        with pytest.raises(ld.StateError, match="prepare"):
            call()
    with acquisition:
        acquisition.prepare()
        assert acquisition.state == ("prepared", "ready")
        with pytest.raises(ld.StateError, match=r"'prepare' is not allowed while .* 'prepared'"):
            acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    with pytest.raises(ld.StateError, match="'acquired'; allowed: nothing more"):
        acquisition.start()


def test_stop_ends_an_endless_run_after_this_frame(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    acquisition = acquisition_of(client, pipeline=pipe, nb_frames=0)
    stopped: list[bool] = []

    def stop_once(status: dict[str, Any]) -> None:
        if status["processed"] > 30 and not stopped:
            stopped.append(True)
            acquisition.stop()

    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(told=stop_once)
    counts = acquisition.record().counts()
    assert counts["present"] > 30
    assert counts["absent"] == 0
    assert acquisition.statistics()["outcome"] == "stopped"
    with h5py.File(acquisition.files["file"]) as file:
        assert len(file["entry/data/data"]) == counts["present"]


def test_frames_after_a_stop_are_absent_for_that_cause(client: Client) -> None:
    acquisition = acquisition_of(client, nb_frames=10_000)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        stops: list[object] = []
        acquisition.wait(
            told=lambda told: (
                stops.append(acquisition.stop()) if told["processed"] > 20 and not stops else None
            )
        )
    ((first, last, cause),) = acquisition.record().ranges(ld.Status.ABSENT)
    assert last == 9_999
    assert cause == "stopped"
    assert first == acquisition.record().counts()["present"]


def test_leaving_early_aborts_and_closes_the_files(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    with acquisition_of(client, pipeline=pipe, nb_frames=100_000) as acquisition:
        acquisition.prepare()
        acquisition.start()
    assert acquisition.state == ("aborted", "aborted")
    counts = acquisition.record().counts()
    assert sum(counts.values()) == 100_000
    assert {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)} == {"stopped"}
    with h5py.File(acquisition.files["file"]) as file:
        status = file["entry/data/frame_status"][()]
    assert (status == ld.Status.PRESENT).sum() == counts["present"]


def test_software_triggers_start_their_frames(client: Client) -> None:
    acquisition = acquisition_of(
        client, nb_frames=6, trigger_mode="software", nb_frames_per_trigger=2
    )
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        events = iter(acquisition.events())
        for expected in (2, 4, 6):
            acquisition.trigger()
            done = (one for one in events if isinstance(one, ld.FramesDone))
            assert next(one for one in done if one.count >= expected).count == expected
        acquisition.wait()
    assert acquisition.record().counts()["present"] == 6


def test_waiting_for_a_trigger_that_never_comes_names_the_detector(client: Client) -> None:
    acquisition = acquisition_of(client, trigger_mode="software", stall_timeout=0.5)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        with pytest.raises(ld.StalledError, match="trigger") as caught:
            acquisition.wait()
    assert (caught.value.stage, caught.value.last_frame) == ("detector", -1)


def test_a_timeout_is_kept(client: Client) -> None:
    with acquisition_of(client, nb_frames=0) as acquisition:
        acquisition.prepare()
        acquisition.start()
        with pytest.raises(ld.StalledError, match=r"not acquired within 0\.3 s"):
            acquisition.wait("acquired", timeout=0.3)


def test_changes_after_prepare_change_nothing(client: Client, tmp_path: Path) -> None:
    camera = Simulator(shape=(64, 48))
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    acquisition = acquisition_of(client, detector=camera, pipeline=pipe)
    with acquisition:
        acquisition.prepare()
        camera.shape = (10, 10)
        camera.seed = 99
        pipe.add("later", Flip(axis="y"))
        acquisition.start()
        acquisition.wait()
    with h5py.File(acquisition.files["file"]) as file:
        first = file["entry/data/data"][0]
        assert file["entry/parameters/hardware/shape"][()].tolist() == [64, 48]
    assert np.array_equal(first, Simulator(shape=(64, 48)).frame(0).values[0])


def test_the_three_parameter_sets_are_kept_apart(run: Run) -> None:
    acquisition = run(ld.Pipeline(), CAMERA, expo_time=1.23456789e-3, rotation=90, flip="x")
    sets = acquisition.parameters
    assert sets.user.expo_time == 1.23456789e-3
    assert sets.hardware is not None
    assert sets.hardware.expo_time == 0.001235
    assert (sets.hardware.flip, sets.hardware.rotation) == ("x", 0)
    assert sets.software is not None
    assert [node.task for node in sets.software.before_input] == ["rotate"]
    assert sets.software.input_grid.shape == (48, 64)
    with pytest.raises(ValueError, match="frozen"):
        sets.hardware.expo_time = 1  # type: ignore[misc]
    html = sets._repr_html_()
    assert "user" in html
    assert "hardware" in html


@pytest.mark.parametrize("hardware", [True, False])
def test_input_is_the_same_whoever_cuts_and_bins(run: Run, tmp_path: Path, hardware: bool) -> None:
    switches = {f"hardware_{name}": hardware for name in ("roi", "binning", "flip")}
    camera = Simulator(shape=(64, 48), **switches)
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    acquisition = run(
        pipe,
        camera,
        roi={"y": 6, "x": 9, "height": 31, "width": 22},
        binning={"y": 2, "x": 2},
        flip="both",
        rotation=270,
        nb_frames=3,
    )
    cut = camera.frame(2).values[0, 6:36, 9:31].astype("u4")
    binned = cut.reshape(15, 2, 11, 2).sum(axis=(1, 3))
    expected = np.rot90(binned[::-1, ::-1], 3)
    with h5py.File(acquisition.files["file"]) as file:
        assert np.array_equal(file["entry/data/data"][2], expected)
        matrix = file["entry/instrument/detector/image_transform/matrix"][()]
    software = acquisition.parameters.software
    assert software is not None
    grid = ld.Grid((64, 48)).crop(6, 9, 30, 22).bin(2, 2).flip("y").flip("x").rotate(3)
    assert software.input_grid == grid
    assert np.array_equal(matrix, grid.affine.as_array())


def test_a_lending_camera_gives_the_same_frames(run: Run, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    acquisition = run(pipe, Simulator(shape=(64, 48), buffers="lend"))
    with h5py.File(acquisition.files["file"]) as file:
        for number in (0, 17, 39):
            expected = Simulator(shape=(64, 48)).frame(number).values[0]
            assert np.array_equal(file["entry/data/data"][number], expected)


def test_accumulated_frames_are_saved_over_several_workers(run: Run, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("sums", Accumulate(nb_frames=10))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="sums")
    camera = Simulator(shape=(64, 48), faults={"drop": [13, 14]})
    acquisition = run(
        pipe,
        camera,
        topology=ld.Topology(workers=3),
        nb_frames=45,
        buffers=ld.Buffers(nb_frames_per_block=2),
    )
    with h5py.File(acquisition.files["file"]) as file:
        sums, status = file["entry/data/data"][()], file["entry/data/frame_status"][()]
    frames = np.array([camera.frame(number).values[0] for number in range(45)], "u8")
    frames[[13, 14]] = 0
    expected = [frames[k : k + 10].sum(axis=0) for k in range(0, 45, 10)]
    assert np.array_equal(sums, expected)
    assert status.tolist() == [1, 2, 1, 1, 2]


def test_an_absent_frame_ends_the_run_where_the_policy_says_so(client: Client) -> None:
    camera = Simulator(shape=(64, 48), faults={"drop": [30]})
    acquisition = acquisition_of(
        client, detector=camera, nb_frames=100_000, policy=ld.Policy(on_absent="abort")
    )
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        with pytest.raises(ld.AcquisitionFailed, match="1 frames are absent, the policy allows 0"):
            acquisition.wait()
    assert acquisition.state == ("failed", "failed")


def test_reprs_show_what_there_is(run: Run) -> None:
    pipe = ld.Pipeline()
    pipe.add("upside_down", Flip(axis="y"))
    acquisition = run(pipe)
    assert repr(acquisition).endswith("acquired/processed>")
    assert "upside_down" in pipe._repr_html_()
    html = acquisition._repr_html_()
    assert acquisition.uuid in html
    assert "40 present" in html
