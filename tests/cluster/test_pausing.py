"""Exposures that are paused, and go on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client
from waiting import until

import limadask as ld
from limadask_detectors import Replay, Simulator
from limadask_tasks import Assemble, RoiStatistics

BOUND = 30.0
SHAPE = (64, 48)
PERIOD, FRAMES = 0.01, 300
PAUSE = 0.3
"""Seconds for which is looked whether a frame comes."""


class Restless(Simulator):
    """A camera that goes on by itself."""

    def capabilities(self) -> ld.Capabilities:
        return super().capabilities().replace(pauses=False)


def made(client: Client, camera: Any = None, **more: Any) -> ld.Acquisition:
    pipe = ld.Pipeline()
    if more.get("topology", ld.Topology()).dispatch == "partial":
        pipe.add("whole", Assemble())
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    given = {"nb_frames": FRAMES, "expo_time": PERIOD, **more}
    given.setdefault("buffers", ld.Buffers(nb_frames_per_block=5))
    return ld.Acquisition(client, camera or Simulator(shape=SHAPE), pipe, **given)


def begun(acquisition: ld.Acquisition, first: int = 10) -> None:
    """Prepare and start it; return when some frames have come."""
    acquisition.prepare()
    acquisition.start()
    until(lambda: acquisition.statistics()["received"] >= first, BOUND)


def quiet(acquisition: ld.Acquisition) -> None:
    """See that no frame comes, apart from those that are told of late."""
    threading.Event().wait(PAUSE)
    before = acquisition.statistics()["received"]
    threading.Event().wait(PAUSE)
    assert acquisition.statistics()["received"] == before < FRAMES


TOPOLOGIES = {
    "single": ld.Topology(),
    "round_robin": ld.Topology(receivers=2, workers=2, dispatch="round_robin"),
    "dynamic": ld.Topology(receivers=2, workers=2, dispatch="dynamic"),
    "partial": ld.Topology(receivers=2, workers=2, dispatch="partial"),
}


@pytest.mark.parametrize("dispatch", TOPOLOGIES)
def test_a_pause_costs_no_frame_and_is_seen_in_the_timestamps(
    client: Client, dispatch: str
) -> None:
    camera = Simulator(shape=(68, 48), modules=2, gap=4)
    with made(client, camera, topology=TOPOLOGIES[dispatch]) as acquisition:
        begun(acquisition)
        acquisition.pause()
        assert acquisition.state[0] == "paused"
        quiet(acquisition)
        with pytest.raises(ld.StateError, match=r"'paused'; allowed: abort, resume, stop"):
            acquisition.pause()
        acquisition.resume()
        assert acquisition.state[0] == "acquiring"
        acquisition.wait(timeout=BOUND)
    ledger = acquisition.ledger
    assert (ledger.status == ld.Status.PRESENT).all()
    stamps = np.sort(ledger.timestamp.values).astype(np.int64)
    steps = np.diff(stamps) / 1e9
    assert (steps > 2 * PAUSE).sum() == 1
    assert steps.max() < BOUND
    # the others come in their pace: no burst makes up for the pause
    # (each of two receivers has a clock of its own, which has its own pause)
    assert np.median(stamps[2:] - stamps[:-2]) / 2e9 == pytest.approx(PERIOD, rel=0.01)


def test_triggers_are_withheld_and_what_was_triggered_comes(client: Client) -> None:
    camera = Restless(shape=SHAPE)  # it need not be able to pause
    with made(
        client, camera, nb_frames=20, trigger_mode="software", nb_frames_per_trigger=10
    ) as acquisition:
        acquisition.prepare()
        with pytest.raises(ld.StateError, match=r"'pause' is not allowed .* 'prepared'"):
            acquisition.pause()
        acquisition.start()
        acquisition.trigger()
        acquisition.pause()
        with pytest.raises(ld.StateError, match=r"'trigger' is not allowed .* 'paused'"):
            acquisition.trigger()
        until(lambda: acquisition.statistics()["received"] == 10, BOUND)
        acquisition.resume()
        acquisition.trigger()
        acquisition.wait(timeout=BOUND)
    assert acquisition.record().counts()["present"] == 20


def test_what_goes_on_by_itself_says_that_it_cannot_be_paused(client: Client) -> None:
    with made(client, Restless(shape=SHAPE)) as acquisition:
        begun(acquisition, first=1)
        with pytest.raises(ld.StateError, match=r"goes on by itself .* trigger_mode 'software'"):
            acquisition.pause()
        assert acquisition.state[0] == "acquiring"
        acquisition.wait(timeout=BOUND)
    assert acquisition.record().counts()["present"] == FRAMES


@pytest.mark.parametrize("call", ["stop", "abort"])
@pytest.mark.parametrize("dispatch", TOPOLOGIES)
def test_a_paused_run_can_end(client: Client, dispatch: str, call: str) -> None:
    camera = Simulator(shape=(68, 48), modules=2, gap=4)
    with made(client, camera, topology=TOPOLOGIES[dispatch]) as acquisition:
        begun(acquisition)
        acquisition.pause()
        began = time.monotonic()
        getattr(acquisition, call)()
        acquisition.wait(timeout=BOUND)
        assert time.monotonic() - began < 5
    record = acquisition.record()
    assert acquisition.state == (("acquired", "processed") if call == "stop" else ("aborted",) * 2)
    assert {cause for _, _, cause in record.ranges(ld.Status.ABSENT)} <= {"stopped"}
    counts = record.counts()
    assert counts["present"] + counts["partial"] + counts["absent"] == FRAMES


def test_leaving_a_paused_run_ends_it(client: Client) -> None:
    with made(client) as acquisition:
        begun(acquisition)
        acquisition.pause()
    assert acquisition.state == ("aborted", "aborted")


@pytest.mark.parametrize("dispatch", ["single", "partial"])
def test_a_paused_run_is_not_called_stalled(client: Client, dispatch: str) -> None:
    given = {"topology": TOPOLOGIES[dispatch]}
    camera = Simulator(shape=(68, 48), modules=2, gap=4)
    with made(client, camera, nb_frames=10, **given) as first:  # what is compiled is there by now
        begun(first, first=1)
        first.wait(timeout=BOUND)
    with made(client, camera, stall_timeout=2, **given) as acquisition:
        begun(acquisition)
        acquisition.pause()
        with pytest.raises(ld.StalledError, match=r"let it go on by resume\(\)") as caught:
            acquisition.wait(timeout=5)  # the run itself would not have waited as long
        assert caught.value.stage == "paused"
        assert acquisition.state == ("paused", "processing")
        acquisition.resume()
        acquisition.wait(timeout=BOUND)
    assert acquisition.record().counts()["present"] == FRAMES


def test_whoever_attaches_may_pause_too(client: Client) -> None:
    with made(client) as acquisition, Client(client.scheduler.address) as other:
        begun(acquisition)
        seen = ld.attach(other, acquisition.uuid)
        seen.pause()
        quiet(acquisition)
        seen.resume()
        acquisition.wait(timeout=BOUND)
    assert acquisition.record().counts()["present"] == FRAMES


def test_a_replay_pauses(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(FRAMES, dtype=np.uint16).repeat(12).reshape(-1, 3, 4)
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 3, 4)]))
    camera = Replay(path=str(path), rate=1 / PERIOD)
    blocks = ld.Buffers(nb_frames_per_block=5)
    with ld.Acquisition(client, camera, pipe, nb_frames=FRAMES, buffers=blocks) as acquisition:
        begun(acquisition)
        acquisition.pause()
        quiet(acquisition)
        began, left = time.monotonic(), FRAMES - acquisition.statistics()["received"]
        acquisition.resume()
        acquisition.wait("acquired", timeout=BOUND)
        assert time.monotonic() - began > (left - 5) * PERIOD
        acquisition.wait(timeout=BOUND)
    means = acquisition.data["stats"]["mean"].values.reshape(-1)
    assert means.tolist() == list(range(FRAMES))


def test_a_batch_whose_run_is_paused_can_be_stopped(client: Client) -> None:
    with ld.Batch(client) as batch:
        first, second = batch.add(made(client)), batch.add(made(client))
        batch.start()
        until(lambda: first.state[0] == "acquiring" and first.statistics()["received"] >= 10, BOUND)
        first.pause()
        batch.stop()
        batch.wait(timeout=BOUND)
        assert first.state == ("acquired", "processed")
        assert second.state == ("aborted", "aborted")
    counts = first.record().counts()
    assert 10 <= counts["present"] < FRAMES
