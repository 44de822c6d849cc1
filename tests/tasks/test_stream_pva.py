"""StreamPva: what a client on the EPICS network monitors; a slow one holds nobody up."""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from oracle import decompress
from p4p.client.thread import Context
from strategies import block

from limadask.errors import ConfigError
from limadask.frames import Spec, Status
from limadask.geometry import Grid
from limadask.task import Place
from limadask_tasks import StreamPva

SPEC = Spec(Grid((20, 30)), np.dtype("u2"), nb_frames=6)
BOUND = 20.0
UPDATES = "record[queueSize=50]field()"


def free(kind: socket.SocketKind) -> str:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A client of servers of this process, both on loopback only."""
    search = free(socket.SOCK_DGRAM)
    server = {
        "INTF_ADDR_LIST": "127.0.0.1", "BEACON_ADDR_LIST": "127.0.0.1",
        "AUTO_BEACON_ADDR_LIST": "NO", "SERVER_PORT": free(socket.SOCK_STREAM),
        "BROADCAST_PORT": search,
    }  # fmt: skip
    for name, value in server.items():
        monkeypatch.setenv(f"EPICS_PVAS_{name}", value)
    conf = {
        "EPICS_PVA_ADDR_LIST": "127.0.0.1", "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVA_BROADCAST_PORT": search, "EPICS_PVA_INTF_ADDR_LIST": "127.0.0.1",
    }  # fmt: skip
    with Context("pva", conf=conf, useenv=False, nt=False) as made:
        yield made


@contextmanager
def monitor(client: Context, name: str) -> Iterator[Callable[[], Any]]:
    """Monitor a channel; yield what returns the next value that has an image."""
    updates: queue.SimpleQueue[Any] = queue.SimpleQueue()
    subscription = client.monitor(name, updates.put, request=UPDATES)

    def following() -> Any:
        return updates.get(timeout=BOUND)

    assert following()["uniqueId"] == 0  # connected, no image yet
    yield following
    subscription.close()


def pixels(value: Any) -> Any:
    shape = [one["size"] for one in value["dimension"]][::-1]
    if value["codec"]["name"]:
        raw = value["value"][: value["compressedSize"]].tobytes()
        assert value["codec"]["name"] == "bslz4"
        assert value["codec"]["parameters"] == 6  # ushort
        framed = value["uncompressedSize"].to_bytes(8, "big") + (8192).to_bytes(4, "big") + raw
        return np.frombuffer(decompress(framed, "bslz4", 2), "u2").reshape(shape)
    return value["value"].reshape(shape)


def place(rank: int = 0, ranks: int = 1) -> Place:
    return Place("live", "u", rank, ranks)


@pytest.mark.parametrize("compression", ["none", "bslz4"])
@pytest.mark.parametrize("bands", [("0",), ("4 keV", "8 keV")])
def test_a_client_gets_the_pixels(
    client: Context, compression: Any, bands: tuple[str, ...]
) -> None:
    spec = SPEC.replace(bands=bands)
    writer = StreamPva(pv="test:image", compression=compression).open(spec, place())
    frames = block(1, spec, 4, first=1)
    frames.timestamps[:] = 1_700_000_000_123_456_789 + np.arange(4) * 1_000_000_000
    frames.status[2] = Status.PARTIAL
    expected = frames.pixels.copy()
    with monitor(client, "test:image") as following:
        encoded = writer.encode(frames)
        frames.pixels[:] = 0  # the block's memory is used again
        writer.write([encoded])
        for at in range(4):
            value = following()
            image = pixels(value)
            np.testing.assert_array_equal(
                image, expected[at] if len(bands) > 1 else expected[at, 0]
            )
            assert image.dtype == np.uint16
            assert value["uniqueId"] == 1 + at
            assert value["uncompressedSize"] == expected[at].nbytes
            stamp = value["timeStamp"]
            assert (stamp["secondsPastEpoch"], stamp["nanoseconds"]) == (
                1_700_000_000 + at, 123_456_789,
            )  # fmt: skip
            told = {one["name"]: one["value"] for one in value["attribute"]}
            assert told["bands"] == ", ".join(bands)
            assert told["status"] == ("partial" if at == 2 else "present")
    writer.close()


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_all_types_of_pixels(client: Context, dtype: str) -> None:
    spec = SPEC.replace(dtype=np.dtype(dtype))
    task = StreamPva(pv="test:types")
    task.plan(spec)
    writer = task.open(spec, place())
    frames = block(2, spec, 1, first=1)
    with monitor(client, "test:types") as following:
        writer.write([writer.encode(frames)])
        image = pixels(following())
    assert image.dtype == spec.dtype
    np.testing.assert_array_equal(image, frames.pixels[0, 0])
    writer.close()


def test_workers_have_channels_of_their_own_and_some_frames_are_left_out(client: Context) -> None:
    task = StreamPva(pv="test:many", every=2)
    writers = [task.open(SPEC, place(rank, 2)) for rank in range(2)]
    for rank, writer in enumerate(writers):
        with monitor(client, f"test:many:{rank}") as following:
            writer.write([writer.encode(block(rank, SPEC, 4, first=10 * rank + 1))])
            assert [following()["uniqueId"] for _ in range(2)] == [10 * rank + 2, 10 * rank + 4]
    assert writers[0].encode(block(1, SPEC, 1, first=1)) is None
    for writer in writers:
        writer.close()


def test_a_slow_client_holds_nobody_up_and_gets_the_newest(client: Context) -> None:
    spec = Spec(Grid((512, 512)), np.dtype("u2"))
    writer = StreamPva(pv="test:slow").open(spec, place())
    seen, may_go_on = [], threading.Event()

    def slow(value: Any) -> None:
        may_go_on.wait(BOUND)
        seen.append(value["uniqueId"])

    subscription = client.monitor("test:slow", slow, request="record[queueSize=2]field()")
    began = time.monotonic()
    for number in range(1, 201):
        writer.write([writer.encode(block(number % 3, spec, 1, first=number))])
    assert time.monotonic() - began < BOUND
    may_go_on.set()
    deadline = time.monotonic() + BOUND
    while not seen or seen[-1] != 200:
        assert time.monotonic() < deadline, seen
        threading.Event().wait(0.01)
    assert len(seen) < 100
    assert seen == sorted(seen)
    subscription.close()
    writer.close()


def test_pixels_that_have_no_place_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="no pixels of this type"):
        StreamPva(pv="x").plan(SPEC.replace(dtype=np.dtype("f2")))
    with pytest.raises(ConfigError) as caught:
        StreamPva(pv="")
    assert caught.value.field == "pv"


def test_networks_that_are_not_there(client: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", "192.0.2.1")
    with pytest.raises(ConfigError, match="no PVAccess server") as caught:
        StreamPva(pv="test:nowhere").open(SPEC, place())
    assert "EPICS_PVAS_INTF_ADDR_LIST" in str(caught.value)


def test_without_its_package_it_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "p4p.nt", None)
    with pytest.raises(ConfigError, match=r"limadask\[pva\]"):
        StreamPva(pv="x").open(SPEC, place())
