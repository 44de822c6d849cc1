"""Big blocks of several receivers: through shared memory, or by TCP where it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from distributed import Client
from modules import partial, readers, share

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Assemble, SaveHdf5

CAMERA = Simulator(shape=(516, 1024), dtype="uint32", modules=2, gap=4)
MODULE = 256 * 1024 * 4
FRAMES = 12
APART = partial(2, 1, "separate")
ROUND_ROBIN = ld.Topology(receivers=2, workers=1, roles="separate", dispatch="round_robin")
"""Here a block is a whole frame; in the others it is one module of it."""


@pytest.fixture(params=[True, False], ids=["shared", "tcp"])
def is_shared(client: Client, request: pytest.FixtureRequest) -> Iterator[bool]:
    share(client, request.param)
    yield request.param
    share(client, True)


def outgoing(client: Client) -> int:
    """Bytes that workers have sent to each other."""
    return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


@pytest.mark.parametrize(
    ("topology", "assembled"),
    [(APART, True), (APART, False), (ROUND_ROBIN, False)],
    ids=["assembled", "apart", "round_robin"],
)
def test_big_blocks_of_several_receivers(
    client: Client, tmp_path: Path, topology: ld.Topology, assembled: bool, is_shared: bool
) -> None:
    pipe, parent = ld.Pipeline(), "input"
    if assembled:
        pipe.add("whole", Assemble())
        parent = "whole"
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after=parent)
    before = outgoing(client)
    with ld.Acquisition(
        client, CAMERA, pipe, nb_frames=FRAMES, expo_time=0.02, topology=topology,
        buffers=ld.Buffers(nb_frames_per_block=1, nbytes=8 * MODULE),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        assert readers(client) == int(is_shared)  # the one worker that processes, until the end
        acquisition.start()
        acquisition.wait(timeout=60)
    assert readers(client) == 0
    sent = outgoing(client) - before
    if is_shared:  # what went while it ran
        assert sent < MODULE
    else:
        assert sent >= FRAMES * 2 * MODULE
    with h5py.File(acquisition.files["file"]) as file:
        images = file["entry/data/data"][()]
    assert len(images) == FRAMES
    bank = CAMERA.source()
    expected = bank.blank()
    for number, image in enumerate(images):
        bank.fill(number, expected)
        assert np.array_equal(image, expected[0]), number
