"""Memory that gets short: told before, and dealt with as the policy says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import pytest
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Accumulate, SaveHdf5

BOUND = 30.0
PER_BLOCK, PERIOD = 10, 1e-3
SLOW = 10 * PER_BLOCK * PERIOD
"""Seconds a block takes to be written: ten times what it takes to be exposed."""
LOSSLESS = {
    "wait": ld.Policy(),
    "pause": ld.Policy(on_overrun="pause"),
    "hold": ld.Policy(on_overrun="hold"),
}
LOSSY = {
    "newest": ld.Policy(on_overrun="drop"),
    "oldest": ld.Policy(on_overrun="drop", drop="oldest"),
    "every": ld.Policy(on_overrun="drop", drop={"every": 3}),
}
TWO = ld.Topology(receivers=2, workers=2, dispatch="round_robin")


class Slow(ld.Sink):
    """Takes its time for each block, or until a file is there."""

    seconds: float = SLOW
    gate: str = ""

    def open(self, spec: ld.Spec, place: ld.Place) -> Any:
        sink, never = self, threading.Event()

        class Writer:
            def encode(self, frames: ld.Frames) -> Any:
                for _ in range(2000):
                    never.wait(0.01 if sink.gate else sink.seconds)
                    if not sink.gate or Path(sink.gate).exists():
                        break

            def write(self, encoded: list[Any]) -> None:
                pass

            def close(self) -> dict[str, Any]:
                return {}

        return Writer()


@contextmanager
def acquisition(
    client: Client, shape: tuple[int, int] = (64, 48), slots: int = 6, sink: Slow | None = None,
    camera: Simulator | None = None,
    **more: Any,
) -> Iterator[ld.Acquisition]:  # fmt: skip
    """An acquisition with a small pool and a slow sink, prepared."""
    pipe = more.pop("pipe", None) or ld.Pipeline()
    pipe.add("slow", sink or Slow(), after="input")
    nbytes = slots * PER_BLOCK * shape[0] * shape[1] * 2
    given = {
        "nb_frames": 200, "expo_time": PERIOD,
        "buffers": ld.Buffers(nb_frames_per_block=PER_BLOCK, nbytes=nbytes), **more,
    }  # fmt: skip
    with ld.Acquisition(client, camera or Simulator(shape=shape), pipe, **given) as made:
        made.prepare()
        yield made


def to_the_end(made: ld.Acquisition) -> list[ld.Event]:
    """Start it, and return what was told until its end."""
    events = made.events()
    made.start()
    return list(events)


def entered(told: list[ld.Event]) -> list[str]:
    """States that the detector side has entered."""
    changes = (one for one in told if isinstance(one, ld.StateChanged))
    return [one.state for one in changes if one.side == "detector"]


def levels(told: list[ld.Event], worker: str = "") -> list[str]:
    """Levels of a worker, or of the run."""
    changes = (one for one in told if isinstance(one, ld.PressureChanged))
    return [one.level for one in changes if one.worker == worker]


def absent(made: ld.Acquisition) -> set[int]:
    """Frames that are absent, all of them for want of memory."""
    ranges = list(made.record().ranges(ld.Status.ABSENT))
    assert {cause for _, _, cause in ranges} <= {"overrun"}
    return {number for first, last, _ in ranges for number in range(first, last + 1)}


# ---- policies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", [ld.Topology(), TWO], ids=["one", "two"])
@pytest.mark.parametrize("policy", LOSSLESS)
def test_nothing_is_lost_where_the_source_waits_or_the_disk_has_room(
    client: Client, policy: str, topology: ld.Topology
) -> None:
    with acquisition(client, policy=LOSSLESS[policy], topology=topology) as made:
        told = to_the_end(made)
    assert made.record().counts()["present"] == 200
    assert ("paused" in entered(told)) == (policy == "pause")
    if policy != "hold":  # a quick disk keeps half of the pool free
        assert "high" in levels(told) or "critical" in levels(told)


@pytest.mark.parametrize("topology", [ld.Topology(), TWO], ids=["one", "two"])
@pytest.mark.parametrize("policy", LOSSY)
def test_every_frame_that_is_dropped_is_in_the_ledger(
    client: Client, policy: str, topology: ld.Topology
) -> None:
    with acquisition(client, policy=LOSSY[policy], topology=topology) as made:
        told = to_the_end(made)
    counts, lost = made.record().counts(), absent(made)
    assert counts["present"] == 200 - len(lost)
    assert 0 < len(lost) < 200
    assert made.statistics()["error"] == ""
    if policy == "newest":
        assert min(lost) >= 3 * PER_BLOCK
    if policy == "oldest":
        assert max(lost) < 200 - PER_BLOCK
    if policy == "every":  # each receiver keeps every third of its own
        own = topology.receivers
        first = [number // own % 3 for number in sorted(lost) if number < min(lost) + PER_BLOCK]
        assert set(first) == {1, 2}
    events = [one for one in told if isinstance(one, ld.FramesAbsent)]
    assert {n for one in events for n in range(one.first, one.last + 1, one.step)} == lost


@pytest.mark.parametrize("topology", [ld.Topology(), TWO], ids=["one", "two"])
def test_a_run_that_may_lose_nothing_and_not_wait_ends(
    client: Client, topology: ld.Topology
) -> None:
    policy = ld.Policy(on_overrun="abort")
    with acquisition(client, policy=policy, topology=topology) as made:
        made.start()
        with pytest.raises(ld.AcquisitionFailed, match=r"pool on \d is full, .*buffers\.nbytes"):
            made.wait(timeout=BOUND)
    record = made.record()
    counts = record.counts()
    assert counts["present"] + counts["absent"] == 200
    assert {cause for _, _, cause in record.ranges(ld.Status.ABSENT)} == {"stopped"}


@pytest.mark.parametrize("policy", LOSSY)
def test_compressed_frames_are_dropped_as_others(client: Client, policy: str) -> None:
    camera = Simulator(shape=(64, 48), compression="bshuf_lz4", photons=3e4)
    with acquisition(client, camera=camera, slots=3, policy=LOSSY[policy]) as made:
        to_the_end(made)
    lost = absent(made)
    assert 0 < len(lost) < 200
    assert made.record().counts()["present"] == 200 - len(lost)


def test_a_deferred_run_lets_nothing_go(client: Client) -> None:
    with ld.Batch(client, "deferred") as batch:
        camera = Simulator(shape=(64, 48))
        one = batch.add(ld.Acquisition(client, camera, nb_frames=10, policy=LOSSY["oldest"]))
        batch.start()
        with pytest.raises(ld.LimadaskError, match="held until later are not let go"):
            batch.wait(timeout=BOUND)
    assert one.state == ("failed", "failed")


def test_what_was_dropped_is_in_the_file(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    with acquisition(client, pipe=pipe, policy=LOSSY["oldest"]) as made:
        to_the_end(made)
    lost = absent(made)
    with h5py.File(made.files["file"]) as file:
        data = file["entry/data"]
        status, cause = data["frame_status"][()], data["frame_cause"].asstr()[()]
        levels = file["entry"].visititems(lambda name, _: name if "pressure" in name else None)
    assert set(map(int, (status == ld.Status.ABSENT).nonzero()[0])) == lost
    assert {cause[number] for number in lost} == {"overrun"}
    assert levels is not None


def peak(reset: bool = False) -> int:
    """Bytes that this process has had at most since it was reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (one for one in lines if one.startswith("VmHWM"))
    return int(line.split()[1]) << 10


@pytest.mark.parametrize("policy", [*LOSSLESS, *LOSSY])
def test_memory_stays_bounded_whatever_the_policy(client: Client, policy: str) -> None:
    shape, slots, nb_frames = (512, 512), 4, 300
    pool = slots * PER_BLOCK * shape[0] * shape[1] * 2
    fields = {"shape": shape, "slots": slots, "policy": {**LOSSLESS, **LOSSY}[policy]}
    with acquisition(client, **fields, nb_frames=40, sink=Slow(seconds=0.0)) as first:
        to_the_end(first)  # what is made once for all is made by now
    (worker,) = first.parameters.software.receivers
    address = {one["name"]: at for at, one in client.scheduler_info()["workers"].items()}
    on = {"workers": [address[next(name for name in address if str(name) == worker)]]}
    before = max(client.run(peak, reset=True, **on).values())
    with acquisition(client, **fields, nb_frames=nb_frames, sink=Slow(seconds=0.05)) as made:
        to_the_end(made)
        assert [str(name) for name in made.parameters.software.receivers] == [worker]
    grown = max(client.run(peak, **on).values()) - before
    total = nb_frames * pool // slots // PER_BLOCK
    assert grown < 2 * pool + (24 << 20) < total
    assert sum(made.record().counts().values()) == nb_frames


# ---- what is told -------------------------------------------------------------------------------


def test_the_level_is_told_before_memory_is_full_and_to_whoever_asks(
    client: Client, tmp_path: Path
) -> None:
    gate = tmp_path / "open"
    sink, scheduler = Slow(gate=str(gate)), client.scheduler.address
    with acquisition(client, sink=sink, nb_frames=300, expo_time=0.01) as made:
        events, told = made.events(), list[ld.Event]()
        made.start()
        for event in events:
            told.append(event)
            if isinstance(event, ld.PressureChanged) and (event.worker, event.level) == (
                "", "overrun",
            ):  # fmt: skip
                break
        with Client(scheduler) as other:
            seen = ld.attach(other, made.uuid).resources
        gate.touch()
        told += list(events)
    assert seen.level == "overrun"
    assert seen.seconds_left == 0
    (name,) = made.parameters.software.receivers
    assert list(seen.workers) == [name]
    held = seen.workers[name]
    assert (held.level, held.free, held.slots, held.in_use) == ("overrun", 0, 6, 6)
    assert held.backlog == 6
    assert held.slot_nbytes == PER_BLOCK * 64 * 48 * 2
    first = next(one for one in told if isinstance(one, ld.PressureChanged))
    assert first.level in ("high", "critical")
    assert 0 < first.seconds_left < 1
    assert levels(told)[-1] == levels(told, name)[-1] == "ok"
    assert made.resources.level == "ok"
    series = made.series["pipeline/pressure"]["value"].values
    assert series.max() == 3
    assert series[0] == 0
    assert made.series[f"pipeline/{name}/pressure"]["value"].values.max() == 3


def test_a_scan_loop_that_pauses_in_time_loses_nothing(client: Client) -> None:
    """Whoever triggers pauses as memory gets short: else the newest frames would be dropped."""
    triggers, paused, troubles = 150, list[str](), list[Exception]()
    may = threading.Event()
    may.set()

    def watch(events: Any, made: ld.Acquisition) -> None:
        try:
            for event in events:
                if not isinstance(event, ld.PressureChanged) or event.worker:
                    continue
                if event.level == "ok" and not may.is_set():
                    made.resume()
                    may.set()
                elif event.level != "ok" and may.is_set():
                    may.clear()
                    made.pause()
                    paused.append(event.level)
        except ld.StateError:  # the last frame has come
            may.set()
        except Exception as error:
            troubles.append(error)
            may.set()

    with acquisition(
        client, slots=80, sink=Slow(seconds=0.05), trigger_mode="software",
        nb_frames=triggers * PER_BLOCK, nb_frames_per_trigger=PER_BLOCK, policy=LOSSY["newest"],
    ) as made:  # fmt: skip
        watcher = threading.Thread(target=watch, args=(made.events(), made))
        watcher.start()
        made.start()
        given = refused = 0
        while given < triggers:
            assert may.wait(BOUND)
            try:
                made.trigger()
                given += 1
            except ld.StateError:  # it was paused just now
                refused += 1
        made.wait(timeout=BOUND)
        watcher.join(BOUND)
    assert not troubles
    assert paused
    assert refused <= len(paused)
    assert made.record().counts()["present"] == triggers * PER_BLOCK


# ---- what cannot work ---------------------------------------------------------------------------


class Restless(Simulator):
    """A camera that cannot be paused."""

    def capabilities(self) -> ld.Capabilities:
        return super().capabilities().replace(pauses=False)


MODULES = Simulator(shape=(64, 48), modules=2, gap=4)
PARTS = ld.Topology(receivers=2, workers=2, dispatch="partial")


@pytest.mark.parametrize(
    ("camera", "field", "given"),
    [
        (Restless(shape=(64, 48)), "on_overrun", {"policy": ld.Policy(on_overrun="pause")}),
        (MODULES, "on_overrun", {"policy": LOSSLESS["hold"], "topology": PARTS}),
        (Simulator(shape=(64, 48)), "drop", {"policy": LOSSY["oldest"]}),
    ],
    ids=["restless", "parts on disk", "sums"],
)
def test_what_cannot_work_is_refused_before_any_frame(
    client: Client, camera: Simulator, field: str, given: dict[str, Any]
) -> None:
    pipe, asked = ld.Pipeline(), {"nb_frames": 10, "expo_time": PERIOD}
    if given["policy"].drop == "oldest":
        pipe.add("sum", Accumulate(nb_frames=5))
    refused = ld.Acquisition(client, camera, pipe, **asked, **given)
    with pytest.raises(ld.ConfigError) as caught:
        refused.prepare()
    assert (caught.value.node, caught.value.field) == ("policy", field)
    parameters = ld.AcquisitionParameters(**asked)
    with pytest.raises(ld.ConfigError, match=f"policy.{field}"):
        ld.check(ld.Configuration(detector=camera, pipeline=pipe, acquisition=parameters, **given))
