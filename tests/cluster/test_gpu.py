"""Pixels on a GPU, from every kind of memory; skipped where there is no GPU."""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client
from graphics import has_gpu
from waiting import until

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.memory import (
    METERS,
    BufferPool,
    FittedPool,
    ManagedAllocator,
    PageAllocator,
    PinnedAllocator,
)
from limadask.task.array_function import ArrayCall
from limadask.task.libraries import Cupy, Library, library
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

pytestmark = pytest.mark.gpu
CAMERA = Simulator(shape=(512, 1024))
NB_FRAMES = 24
KINDS = {"pages": PageAllocator, "pinned": PinnedAllocator, "managed": ManagedAllocator}


@pytest.fixture(params=["cupy", "torch"])
def arrays(request: pytest.FixtureRequest) -> str:
    """A library that has a GPU here."""
    name = str(request.param)
    try:
        library(name, "gpu")
    except ld.ConfigError as error:
        pytest.skip(str(error))
    return name


@pytest.fixture
def cupy() -> Any:
    """CuPy, with a GPU."""
    if not has_gpu():
        pytest.skip("no GPU here that CuPy has")
    return sys.modules["cupy"]


def doubled(frames: Any) -> Any:
    return frames * 2


def pooled(arrays: str, function: Any) -> ArrayCall:
    """A function whose frames come back to a pool."""
    found = library(arrays, "gpu")
    if (allocator := found.allocator) is None:
        pytest.skip("no CuPy beside PyTorch")
    return ArrayCall(found, function, {}, FittedPool(allocator).array)


def loans() -> int:
    """How many results have come back to page-locked memory, of pools that are there now."""
    return sum(one.loans for one in METERS.usages() if one.allocator == "pinned")


def there_and_back(found: Library, pixels: Any) -> Any:
    with found.working():
        return found.back(found.given(pixels) * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_go_to_the_gpu_and_back(arrays: str, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 900, (5, 2, 60, 80)).astype("i4")
    try:
        memory = KINDS[kind]().allocate(pixels.nbytes)
    except MemoryError as error:  # no CuPy beside PyTorch
        pytest.skip(str(error))
    lent = memory.view(pixels.dtype).reshape(pixels.shape)
    lent[:] = pixels
    lent.flags.writeable = False
    found = library(arrays, "gpu")
    assert (there_and_back(found, lent) == pixels * 2).all()
    if isinstance(found, Cupy):  # pixels that a GPU reaches go there as they lie
        assert hasattr(found._own, "room") == (kind == "pages")
    assert (there_and_back(found, lent[:, :, ::2, 3:]) == pixels[:, :, ::2, 3:] * 2).all()
    assert (lent == pixels).all()


def test_memory_of_the_gpu_s_kinds_is_what_it_says(cupy: Any) -> None:
    for kind, number in ((PinnedAllocator, 1), (ManagedAllocator, 3)):
        assert kind().traits.device == "cuda"
        slot = BufferPool(2, 1 << 20, kind()).lend((1 << 20,), "u1")
        assert slot is not None
        assert cupy.cuda.runtime.pointerGetAttributes(slot.ctypes.data).type == number
        slot[:] = 7
        array = cupy.empty(slot.shape, slot.dtype)
        array.set(slot)
        assert int(array.sum(dtype="u8")) == 7 * slot.nbytes
    with pytest.raises(MemoryError, match="CUDA refuses"):  # too much managed memory may hang it
        PinnedAllocator().allocate(1 << 50)


def test_frames_come_back_to_page_locked_memory_that_is_used_again(cupy: Any, arrays: str) -> None:
    call = pooled(arrays, doubled)
    pixels = np.random.default_rng(2).integers(0, 900, (4, 1, 60, 80)).astype("i4")

    def comes_back_pinned() -> bool:
        result = call(pixels)
        assert isinstance(result, np.ndarray)
        assert (result == pixels * 2).all()
        kind = cupy.cuda.runtime.pointerGetAttributes(result.ctypes.data).type
        return int(kind) == 1 and not result.flags.owndata

    until(comes_back_pinned)
    assert all(comes_back_pinned() for _ in range(20))
    [told] = [one for one in METERS.usages() if one.allocator == "pinned" and one.loans > 20]
    assert told.allocated < 3 * pixels.nbytes


def test_frames_that_do_not_lie_in_a_row_come_back_as_they_are(arrays: str) -> None:
    call = pooled(arrays, lambda frames: frames.swapaxes(2, 3)[:, :, 1:])
    pixels = np.random.default_rng(3).integers(0, 900, (4, 2, 60, 80)).astype("i4")
    before = loans()

    def comes_back_pinned() -> bool:
        result = call(pixels)
        assert isinstance(result, np.ndarray)
        assert result.flags.c_contiguous
        assert (result == pixels.swapaxes(2, 3)[:, :, 1:]).all()
        return loans() > before

    until(comes_back_pinned)


@pytest.mark.usefixtures("cupy")
def test_a_by_product_that_is_no_array_of_the_library_is_taken_too() -> None:
    call = ArrayCall(library("cupy", "gpu"), lambda frames: {"n": [int(frames.sum())]}, {})
    result = call(np.ones((1, 1, 3, 4), "i4"))
    assert isinstance(result, dict)
    assert result["n"].tolist() == [12]


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_has_been_read_when_its_memory_is_used_again(arrays: str, kind: str) -> None:
    """Each thread overwrites what it gave as soon as it has the result, and keeps results."""
    call, before = pooled(arrays, doubled), loans()
    wrong = list[tuple[int, int]]()

    def work(thread: int) -> None:
        shape, kept = (2, 1, 256, 512), list[tuple[int, Any]]()
        memory = KINDS[kind]().allocate(int(np.prod(shape)) * 4).view("i4").reshape(shape)
        for number in range(60):
            memory[...] = 1000 * thread + number
            kept = [*kept[-5:], (number, call(memory))]
            wrong.extend(
                (thread, one) for one, got in kept if not (got == 2 * (1000 * thread + one)).all()
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    assert not wrong
    assert not any(one.is_alive() for one in threads)
    assert loans() > before


def has_context() -> bool:
    """Tell whether this process has made itself at home on the first GPU."""
    driver = ctypes.CDLL("libcuda.so.1")
    flags, active = ctypes.c_uint(), ctypes.c_int()
    driver.cuInit(0)
    assert driver.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
    return bool(active.value)


def where(dask_worker: Any) -> tuple[str, bool]:
    """Tell whether a worker has a context on the GPU."""
    return dask_worker.name, has_context()


@pytest.mark.parametrize("kind", ["pages", "pinned"])
def test_frames_are_processed_where_the_gpu_is(arrays: str, kind: str, tmp_path: Path) -> None:
    if kind == "pinned" and not has_gpu():
        pytest.skip("no CuPy beside PyTorch")

    @ld.task(arrays=arrays, device="gpu", plan="i4")
    def halved(frames: Any) -> Any:
        return (frames.astype("i4") if arrays == "cupy" else frames.int()) // 2

    pipe = ld.Pipeline()
    pipe.add("half", halved())
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after="half")
    workers = {"worker-0": (), "worker-1": ("--resources", "GPU=1")}
    with process_cluster(workers, threads=2) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, pipe, nb_frames=NB_FRAMES, expo_time=2e-3,
            buffers=ld.Buffers(nb_frames_per_block=4, allocator=kind),
        )  # fmt: skip
        with acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(timeout=120)
            software = acquisition.parameters.software
        contexts = dict(client.run(where).values())
    assert software is not None
    told = software.settings["workers"]["worker-1"]
    assert (told["allocator"]["name"], list(software.processors)) == (kind, ["worker-1"])
    assert contexts == {"worker-0": False, "worker-1": True}
    bank = CAMERA.source()
    expected = bank.blank()
    with h5py.File(acquisition.files["file"]) as file:
        data = file["entry/data/data"]
        for number in range(NB_FRAMES):
            bank.fill(number, expected)
            assert np.array_equal(data[number], expected[0] // 2), number
