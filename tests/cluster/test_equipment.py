"""What memory and cores a run gets on real workers: as asked for, or a warning says why not."""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from disk import on_disk
from distributed import Client
from graphics import has_gpu
from modules import readers
from numpy.typing import NDArray
from waiting import until

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.memory import NamedAllocator, PageAllocator
from limadask.memory.system import is_in_memory
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

CAMERA = Simulator(shape=(512, 1024))
FRAME = 512 * 1024 * 2
NB_FRAMES = 24
SEPARATE = ld.Topology(workers=2, roles="separate")
FIRST = min(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is all there is")


def threads() -> dict[str, str]:
    """Return the cores that this process's threads which receive or process may use, by name."""
    found = {}
    for one in threading.enumerate():
        if one.name.startswith(("limadask-receive", "limadask-process")) and one.native_id:
            status = Path(f"/proc/self/task/{one.native_id}/status").read_text()
            listed = re.search(r"Cpus_allowed_list:\s*(\S+)", status)
            found[one.name] = listed[1] if listed else ""
    return found


def mapped_files(folder: str) -> int:
    """Count the mappings of files in a folder."""
    return sum(folder in line for line in Path("/proc/self/maps").read_text().splitlines())


def acquisition_of(
    client: Client, folder: Path, allocator: Any, pipe: ld.Pipeline | None = None, **fields: Any
) -> ld.Acquisition:
    pipe = pipe or ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder / "out"), prefix="run"))
    buffers = ld.Buffers(
        nb_frames_per_block=1, nbytes=6 * FRAME, least_nbytes=4 * FRAME, allocator=allocator,
        folder=str(folder),
    )  # fmt: skip
    given = {"nb_frames": NB_FRAMES, "expo_time": 2e-3, **fields}
    return ld.Acquisition(client, CAMERA, pipe, buffers=buffers, **given)


@contextmanager
def told_once(text: str) -> Iterator[None]:
    """Expect one warning at the client, of this text; none where it is empty."""
    if not text:
        yield
        return
    with pytest.warns(ld.FallbackWarning, match=text) as caught:
        yield
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points to the call of prepare


def settings(acquisition: ld.Acquisition) -> list[dict[str, Any]]:
    """Return what each worker says that it gave, receivers first."""
    software = acquisition.parameters.software
    assert software is not None
    names = dict.fromkeys([*software.receivers, *software.processors])
    return [software.settings["workers"][name] for name in names]


def finish(acquisition: ld.Acquisition) -> None:
    acquisition.start()
    acquisition.wait(timeout=60)


def compare(acquisition: ld.Acquisition) -> list[str]:
    """Compare all saved frames with the simulator's; return the allocators that are saved."""
    bank = CAMERA.source()
    expected = bank.blank()
    with h5py.File(acquisition.files["file"]) as file:
        data = file["entry/data/data"]
        assert len(data) == NB_FRAMES
        for number in range(NB_FRAMES):
            bank.fill(number, expected)
            assert np.array_equal(data[number], expected[0]), number
        workers = file["entry/parameters/software/settings/workers"].values()
        return [str(one["allocator/name"].asstr()[()]) for one in workers if "allocator" in one]


NO_GPU = "allocator managed: (there is no CuPy|CuPy finds no GPU)"
CASES: dict[str, tuple[str, str]] = {
    "mapped": ("mapped", ""),
    "numa": ("numa", ""),
    "pages": ("pages", ""),
    "shared": ("shared", ""),
    "managed": ("managed", "") if has_gpu() else ("pages", NO_GPU),
}
"""What is asked for, what is really there, and what is said of it."""


@pytest.mark.parametrize("asked", CASES)
def test_memory_is_what_was_asked_for_or_it_is_told_why_not(
    client: Client, tmp_path: Path, asked: str
) -> None:
    really, said = CASES[asked]
    folder = on_disk(tmp_path) if asked == "mapped" else tmp_path
    with acquisition_of(client, folder, asked) as acquisition:
        with told_once(said):
            acquisition.prepare()
        (told,) = settings(acquisition)
        assert told["allocator"]["name"] == really
        assert ("warnings" in told) == bool(said)
        if asked == "mapped":
            assert told["allocator"]["folder"] == str(tmp_path)
            files = client.run(mapped_files, str(tmp_path)).values()
            assert sum(files) >= 4
        finish(acquisition)
    assert compare(acquisition) == [really]
    assert os.listdir(tmp_path) == ["out"]
    until(lambda: sum(client.run(mapped_files, str(tmp_path)).values()) == 0)


def test_huge_pages_or_the_number_that_lacks(client: Client, tmp_path: Path) -> None:
    with acquisition_of(client, tmp_path, "huge") as acquisition:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            acquisition.prepare()
        (told,) = settings(acquisition)
        said = [str(one.message) for one in caught if one.category is ld.FallbackWarning]
        assert said == [
            f"worker {one_name(acquisition)}: {one}" for one in told.get("warnings", ())
        ]
        if told["allocator"]["name"] != "huge":
            assert "huge pages of" in said[0]
        finish(acquisition)
    compare(acquisition)


def one_name(acquisition: ld.Acquisition) -> str:
    software = acquisition.parameters.software
    assert software is not None
    (name,) = software.receivers
    return name


@pytest.mark.parametrize("kind", ["locked", "numa", "auto", "pages"])
def test_pages_of_any_kind_are_shared_with_who_processes(
    client: Client, tmp_path: Path, kind: str
) -> None:
    with acquisition_of(client, tmp_path, kind, topology=SEPARATE) as acquisition:
        acquisition.prepare()
        receiver, *others = settings(acquisition)
        plain = kind in ("auto", "pages")
        assert receiver["allocator"]["name"] == ("shared" if plain else f"shared {kind}")
        assert receiver["allocator"]["shared"] is True
        assert others == [{}, {}]
        assert readers(client) == 2
        finish(acquisition)
    compare(acquisition)


def test_blocks_in_memory_that_others_cannot_read_go_by_tcp_and_that_is_told(
    client: Client, tmp_path: Path
) -> None:
    with acquisition_of(client, on_disk(tmp_path), "mapped", topology=SEPARATE) as acquisition:
        with told_once("allocator mapped: other processes cannot read it, so blocks go .* by TCP"):
            acquisition.prepare()
        assert readers(client) == 0
        finish(acquisition)
    compare(acquisition)


class Few(NamedAllocator):
    """Pages of which there are enough for a pool as it begins."""

    name: ClassVar[str] = "few"

    def open(self, slots: int, slot_nbytes: int) -> FewPages:
        return FewPages()


class FewPages(PageAllocator):
    name: ClassVar[str] = "few"
    left: int = 4

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        object.__setattr__(self, "left", self.left - 1)
        if self.left < 0:
            raise MemoryError("there are four of them")
        return super().allocate(nbytes)


@ld.task(arrays="numpy")
def slowly(frames: Any) -> Any:
    """The same frames, after a while."""
    time.sleep(0.02)
    return frames


def test_a_pool_that_falls_back_as_it_grows_is_told_in_the_master(
    client: Client, tmp_path: Path
) -> None:
    pipe = ld.Pipeline()
    pipe.add("slowly", slowly())
    with acquisition_of(client, tmp_path, Few(), pipe=pipe, expo_time=1e-3) as acquisition:
        acquisition.prepare()
        (told,) = settings(acquisition)
        assert told["allocator"]["name"] == "few"
        finish(acquisition)
    assert compare(acquisition) == ["few+pages"]
    with h5py.File(acquisition.files["file"]) as file:
        (one,) = file["entry/parameters/software/settings/workers"].values()
        (said,) = one["warnings"].asstr()[()]
    assert said == "allocator few: there are four of them. Plain pages are taken instead"


@pytest.mark.skipif(not is_in_memory("/dev/shm"), reason="/dev/shm is not in memory")
def test_a_folder_in_memory_for_frames_that_wait_is_told(client: Client, tmp_path: Path) -> None:
    buffers = ld.Buffers(folder="/dev/shm")
    policy = ld.Policy(on_overrun="hold")
    said = told_once("frames that are held: /dev/shm is in memory")
    acquisition = ld.Acquisition(client, CAMERA, nb_frames=2, policy=policy, buffers=buffers)
    with acquisition, said:
        acquisition.prepare()


def test_a_burst_in_files_may_be_larger_than_memory(tmp_path: Path) -> None:
    with process_cluster(1) as cluster, Client(cluster.address) as client:  # without a limit
        for allocator in ("pages", "mapped"):
            with acquisition_of(client, on_disk(tmp_path), allocator) as acquisition:
                few = client.run(_pretend_little_memory, 4 * FRAME)
                assert list(few.values()) == [4 * FRAME]
                if allocator == "pages":
                    with pytest.raises(ld.ConfigError, match="do not fit"):
                        acquisition.prepare()
                    continue
                acquisition.prepare()
                finish(acquisition)
    compare(acquisition)


def _pretend_little_memory(nbytes: int) -> int | None:
    from limadask.memory import BUDGET

    BUDGET.bound("test", nbytes)
    return BUDGET.most


def test_a_folder_that_is_not_there_is_a_mistake(client: Client, tmp_path: Path) -> None:
    allocator = {"type": "mapped", "folder": "/nowhere"}
    refused = pytest.raises(ld.ConfigError, match=r"buffers.folder: .*\(got /nowhere; allowed")
    with acquisition_of(client, tmp_path, allocator) as acquisition, refused:
        acquisition.prepare()


# ---- cores ------------------------------------------------------------------------------------


@two_cores
def test_threads_are_pinned_from_prepare_to_the_end_and_free_again(
    client: Client, tmp_path: Path
) -> None:
    topology = ld.Topology(affinity=ld.Affinity(receiver=(FIRST,), processing=(FIRST,)))
    camera = {"trigger_mode": "software", "nb_frames_per_trigger": 2, "topology": topology}
    with acquisition_of(client, tmp_path, "auto", **camera) as acquisition:
        acquisition.prepare()
        (told,) = settings(acquisition)
        assert told["affinity"] == {"receiver": (FIRST,), "processing": (FIRST,)}
        acquisition.start()
        events = iter(acquisition.events())
        acquisition.trigger()
        assert any(isinstance(one, ld.FramesDone) and one.count == 2 for one in events)
        found = sorted(client.run(threads).values(), key=lambda one: "limadask-receive" in one)
        *others, pinned = found
        assert {"limadask-receive", "limadask-process-0"} <= set(pinned)
        assert set(pinned.values()) == {str(FIRST)}
        free = {cores for one in others for cores in one.values()}
        assert len(others) == 2
        assert len(free) == 1
        assert free != {str(FIRST)}
    for one in client.run(threads).values():
        assert "limadask-process-0" in one
        assert set(one.values()) == free


@two_cores
def test_cores_chosen_for_receivers_are_theirs_alone(client: Client, tmp_path: Path) -> None:
    topology = ld.Topology(
        receivers=2, workers=2, dispatch="round_robin",
        affinity=ld.Affinity(receiver="auto", processing="auto"),
    )  # fmt: skip
    with acquisition_of(client, tmp_path, "auto", topology=topology) as acquisition:
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")  # two receivers may want all the cores there are
            acquisition.prepare()
        own = [told.get("affinity", {}).get("receiver", ()) for told in settings(acquisition)]
        finish(acquisition)
    for told, cores in zip(settings(acquisition), own, strict=True):
        assert len(cores) == 1 or "receivers of this computer have all" in told["warnings"][0]
        assert not set(cores) & set(told.get("affinity", {}).get("processing", ()))
    assert len({core for cores in own for core in cores}) == sum(map(len, own))
    compare(acquisition)


def test_cores_that_are_not_there_are_told_and_the_run_goes_on(
    client: Client, tmp_path: Path
) -> None:
    topology = ld.Topology(affinity={"receiver": [1_000_000]})
    with acquisition_of(client, tmp_path, "auto", topology=topology) as acquisition:
        with told_once("affinity.receiver: this computer has no core 1000000"):
            acquisition.prepare()
        finish(acquisition)
    compare(acquisition)
