"""Values that change during a run: from every source to its place in the file."""

from __future__ import annotations

import asyncio
import itertools
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import silx.io
from distributed import Client
from silx.io.nxdata import get_default
from waiting import until

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_detectors.simulator.status import temperature
from limadask_tasks import SaveHdf5

BOUND = 60.0
CAMERA = Simulator(shape=(64, 48))


def acquisition(client: Client, folder: Path | None = None, **fields: Any) -> ld.Acquisition:
    pipe = ld.Pipeline()
    if folder is not None:
        pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"))
    return ld.Acquisition(client, CAMERA, pipe, **{"nb_frames": 60, "expo_time": 0.02, **fields})


def clock() -> float:
    return time.time()


async def ticks() -> AsyncIterator[Any]:
    for number in itertools.count():
        yield number
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def saved(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a source of each kind, and its master file."""

    def broken() -> float:
        raise OSError("no thermometer")

    folder = tmp_path_factory.mktemp("series")
    values = queue.SimpleQueue[Any]()
    metadata = {
        "sample": "LaB6",
        "temperature": ld.Polled(lambda: 300.0 + time.monotonic() % 1, every=0.1, units="K"),
        "clock": ld.Polled(lambda: time.time(), every=0.1, units="s"),
        "shutter": lambda: "open",
        "broken": broken,
        "ticks": ticks(),
        "pressure": ld.Streamed(values, units="Pa"),
    }
    with acquisition(client, folder, metadata=metadata) as run:
        run.prepare()
        run.note("comment", "the sample is in place")
        values.put((1_700_000_000_000_000_000, 1.5))
        values.put(2.5)
        run.start()
        until(lambda: run.series["pressure"].sizes["time"] == 2)
        run.note("comment", "the sample moved")
        run.note("x", 3, units="mm")
        until(lambda: run.series["ticks"].sizes["time"] > 0)
        assert run.series["ticks"]["value"][0] == 0
        assert run.series["temperature"]["value"].attrs["units"] == "K"
        declared = {"detector/temperature", "pipeline/rate", "shutter"}
        until(lambda: declared <= set(run.series))
        with pytest.raises(ld.ConfigError, match="nothing of this name") as caught:
            run.series["missing"]
        assert "clock" in caught.value.allowed
        run.wait(timeout=BOUND)
    return Path(run.files["file"])


def test_each_stands_at_its_place(saved: Path) -> None:
    with h5py.File(saved) as file:
        entry = file["entry"]
        began = np.datetime64(entry["start_time"].asstr()[()].rstrip("Z"), "ns")
        logs = entry["logs"]
        log = logs["temperature"]
        assert log.attrs["NX_class"] == "NXlog"
        assert np.datetime64(log["time"].attrs["start"].rstrip("Z"), "ns") == began
        assert (log["time"].attrs["units"], log["value"].attrs["units"]) == ("s", "K")
        times, values = log["time"][()], log["value"][()]
        assert len(times) >= 5
        assert (np.diff(times) > 0).all()
        assert -0.5 < times[0] < times[-1] < 30
        assert log["average_value"][()] == pytest.approx(values.mean())
        assert entry["sample/temperature_log"] == log
        assert entry["sample/temperature"][()] == pytest.approx(values.mean())
        assert entry["sample/pressure_log/value"][()].tolist() == [1.5, 2.5]
        assert logs["pressure/time"][0] < -1e6  # the source's own time
        comments = logs["comment"]
        assert comments["value"].asstr()[()].tolist() == [
            "the sample is in place", "the sample moved",
        ]  # fmt: skip
        assert comments["time"][0] < 0 < comments["time"][1]
        assert logs["shutter/value"].asstr()[()].tolist() == ["open"]
        assert (logs["x/value"][()].tolist(), logs["x/value"].attrs["units"]) == ([3.0], "mm")
        assert np.isnan(logs["broken/value"][()]).all()
        assert logs["broken/gaps/reason"].asstr()[()].tolist() == ["OSError: no thermometer"]
        assert logs["ticks/value"][()].tolist() == list(range(len(logs["ticks/value"])))
        warm = entry["instrument/detector/temperature_log"]
        assert warm["value"].attrs["units"] == "degC"
        expected = [temperature(seconds) for seconds in warm["time"]]
        np.testing.assert_allclose(warm["value"], expected, atol=1.0)
        assert warm["value"][-1] > warm["value"][0]
        assert set(entry["metadata"]) == {"sample"}


def test_the_run_itself_is_recorded(saved: Path) -> None:
    with h5py.File(saved) as file:
        process = file["entry/process"]
        assert process["logs/processed/value"][-1] == 60
        (receiver,) = process["workers/receivers"].asstr()[()].tolist()
        pool = process[f"logs/{receiver}"]
        assert pool["received/value"][-1] == 60
        assert (pool["pool_free/value"][()] <= pool["pool_slots/value"][()]).all()
        assert pool["backlog/value"][-1] == 0
        assert process["logs/rate/value"].attrs["units"] == "Hz"
        statistics = process["statistics"]
        assert statistics["frames/present"][()] == 60
        assert statistics["seconds_by_node/file"][()] > 0
        assert 0 < statistics["latency/median"][()] <= statistics["latency/p99"][()]
        assert statistics["acquiring_time"][()] >= 60 * 0.02


def test_silx_shows_curves(saved: Path) -> None:
    with silx.io.open(str(saved)) as file, h5py.File(saved) as plain:
        places = {"logs/temperature": "K", "instrument/detector/temperature_log": "degC"}
        for place, units in places.items():
            plot = get_default(file[f"entry/{place}"])
            assert plot.signal_name == f"value ({units})"
            assert plot.axes_names == ["time (s)"]
            np.testing.assert_array_equal(plot.signal[()], plain[f"entry/{place}/value"][()])


def test_nxvalidate_finds_no_error(saved: Path) -> None:
    validate = Path(sys.executable).with_name("nxvalidate")
    done = subprocess.run(
        [validate, "-a", "NXmx", saved], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Total number of errors: 0" in done.stdout + done.stderr, done.stdout


def test_opened_again_a_series_is_interpolated_at_the_times_of_frames(saved: Path) -> None:
    with ld.open(saved) as tree:
        frames = tree["entry/data"]
        seen = tree["entry/logs/clock"]["value"].interp(time=frames["timestamp"])
        expected = frames["timestamp"].values.astype(np.int64) / 1e9
        known = np.isfinite(seen.values)
        assert known.sum() > 40
        np.testing.assert_allclose(seen.values[known], expected[known], rtol=0, atol=0.05)
        assert seen.dims == ("frame",)
        assert tree["entry/logs/comment"]["value"].values[1] == "the sample moved"
        assert tree["entry/logs/broken"].attrs["gaps"][0].endswith("OSError: no thermometer")
        assert "curve" not in tree["entry/sample/temperature_log"].children


def test_functions_that_hang_or_are_slow_harm_no_run(client: Client) -> None:
    def hang() -> float:
        threading.Event().wait(30)
        return 1.0

    def slow() -> float:
        threading.Event().wait(0.4)
        return 1.0

    metadata = {"hanging": hang, "slow": ld.Polled(slow, every=0.05)}
    with acquisition(client, metadata=metadata, nb_frames=50) as run:
        run.prepare()
        run.start()
        began = time.monotonic()
        run.wait(timeout=25)
        assert time.monotonic() - began < 25
    assert run.record().counts()["present"] == 50
    hanging, slow_ones = run.series["hanging"], run.series["slow"]
    assert np.isnan(hanging["value"]).all()
    assert hanging.attrs["gaps"][0].endswith("when the run ended")
    # once after the other, with what the end left undone
    times = slow_ones["time"].values.astype(np.int64)[: int(np.isfinite(slow_ones["value"]).sum())]
    assert len(times) >= 1
    assert (np.diff(times) > 0.3e9).all()


def test_what_cannot_be_noted_is_refused(client: Client) -> None:
    run = acquisition(client, metadata={"source": clock}, nb_frames=5)
    with run:
        with pytest.raises(ld.StateError, match="prepare"):
            run.note("x", 1)
        run.prepare()
        for name, value, units in (
            ("a/b", 1, ""), ("x", None, ""), ("source", 1, ""), ("x", "y" * 1001, ""),
        ):  # fmt: skip
            with pytest.raises(ld.ConfigError) as caught:
                run.note(name, value, units)  # type: ignore[arg-type]
            assert caught.value.node == "metadata"
        other = ld.attach(client, run.uuid)
        other.note("from_elsewhere", 1.0)
        run.start()
        run.wait(timeout=BOUND)
    with pytest.raises(ld.StateError, match="is over"):
        run.note("x", 1)
    assert run.series["from_elsewhere"]["value"].values.tolist() == [1.0]
    assert "x" not in run.series


def test_a_stream_that_raises_ends_alone(client: Client) -> None:
    async def short() -> AsyncIterator[float]:
        yield 1.0
        raise RuntimeError("the beam is lost")

    with acquisition(client, metadata={"short": short()}, nb_frames=40) as run:
        run.prepare()
        until(lambda: run.series["short"].sizes["time"] == 2)
        run.start()
        run.wait(timeout=BOUND)
    assert run.series["short"].attrs["gaps"][0].endswith("RuntimeError: the beam is lost")


STARTER = """
    import asyncio, sys, time
    import limadask as ld
    from distributed import Client
    from limadask_detectors import Simulator
    from limadask_tasks import SaveHdf5

    async def stream():
        while True:
            yield 1.0
            await asyncio.sleep(0.05)

    def clock():
        import time
        return time.time()

    client = Client(sys.argv[1])
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=sys.argv[2], prefix="run"))
    run = ld.Acquisition(
        client, Simulator(shape=(64, 48)), pipe, nb_frames=0, expo_time=1e-2,
        metadata={"clock": ld.Polled(clock, every=0.1), "stream": stream()},
        topology=ld.Topology(workers=2, roles="separate"),
    )
    run.prepare()
    run.start()
    print(run.uuid, flush=True)
    sys.stdin.read()
"""


def test_series_outlive_the_client_and_the_worker_that_polls(tmp_path: Path) -> None:
    with process_cluster(3) as cluster:
        starter = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(STARTER), cluster.address, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert starter.stdout is not None
            uuid = starter.stdout.readline().strip()
            with Client(cluster.address) as client:
                run = ld.attach(client, uuid)
                until(lambda: run.series["stream"].sizes["time"] > 3)
                starter.kill()
                starter.wait()
                ended = time.time_ns()
                first = run.parameters.software.processors[0]
                before = run.series["clock"].sizes["time"]
                cluster.workers[first].send_signal(signal.SIGKILL)
                until(lambda: run.series["clock"].sizes["time"] > before + 5)
                run.note("comment", "the client is gone")
                run.stop()
                run.wait(timeout=BOUND)
                stream, polled = run.series["stream"], run.series["clock"]
                assert int(stream["time"][-1]) < ended
                assert int(polled["time"][-1]) > ended
        finally:
            starter.kill()
            starter.communicate()
    with h5py.File(run.files["file"]) as file:
        logs = file["entry/logs"]
        assert len(logs["clock/value"]) == polled.sizes["time"]
        assert logs["comment/value"].asstr()[0] == "the client is gone"
