"""A real frame of an EIGER2 16M, replayed, masked, saved and read back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import cbor2
import h5py
import hdf5plugin
import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask_detectors import Replay
from limadask_tasks import Mask, SaveHdf5

PACKAGE = "tickit-devices==0.4.1"
ARRAY, LITTLE_ENDIAN_U2, DECTRIS = 40, 69, 56500
"""CBOR tags: row-major array, typed array, compressed bytes."""


@pytest.fixture(scope="module")
def message() -> Path:
    """The image message in the package tickit-devices, fetched once into a cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limadask-tests"
    folder = cache / PACKAGE.replace("==", "-")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--no-compile",
            ]
            done = subprocess.run(
                [*command, "--target", f"{temporary}/new", PACKAGE],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"pip cannot fetch {PACKAGE}: {done.stderr.strip()[-500:]}")
            if not folder.is_dir():  # another session may have been faster
                shutil.move(f"{temporary}/new", folder)
    return folder / "tickit_devices/eiger/data/stream2/image.cbor"


def write_master(message: Path, folder: Path) -> Path:
    """Write the compressed frame, untouched, as the only one of a data file and its master."""
    image = cbor2.loads(message.read_bytes())["data"]["threshold_1"]
    shape, typed = image.value
    algorithm, item_size, chunk = typed.value.value
    assert (image.tag, typed.tag, typed.value.tag) == (ARRAY, LITTLE_ENDIAN_U2, DECTRIS)
    assert (algorithm, item_size) == ("bslz4", 2)
    with h5py.File(folder / "real_data_000001.h5", "w") as file:
        data = file.create_dataset(
            "entry/data/data", (1, *shape), "<u2", chunks=(1, *shape), **hdf5plugin.Bitshuffle()
        )
        data.id.write_direct_chunk((0, 0, 0), chunk)
    master = folder / "real_master.h5"
    with h5py.File(master, "w") as file:
        link = h5py.ExternalLink("real_data_000001.h5", "/entry/data/data")
        file["entry/data/data_000001"] = link
    return master


def eiger2_mask() -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyFAI's own
        from pyFAI.detectors import detector_factory

        return np.asarray(detector_factory("Eiger2_16M").mask) != 0


@pytest.mark.slow
def test_masked_dead_and_lit_pixels_come_out_right(
    client: Client, message: Path, tmp_path: Path
) -> None:
    masked = eiger2_mask()
    np.save(tmp_path / "mask.npy", masked.astype("u1"))
    master = write_master(message, tmp_path)
    camera = Replay(path=master)
    pipe = ld.Pipeline()
    pipe.add("masked", Mask(path=str(tmp_path / "mask.npy")))
    pipe.add("file", SaveHdf5(folder=str(tmp_path / "out"), prefix="real"), after="masked")
    acquisition = ld.Acquisition(client, camera, pipe, nb_frames=1)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    with h5py.File(acquisition.files["file"]) as file:
        assert file["entry/data/data"].dtype == np.uint16
        (image,) = file["entry/data/data"][()]
        assert np.array_equal(file["entry/instrument/detector/pixel_mask"][()] != 0, masked)
    assert image.shape == masked.shape == (4362, 4148)
    assert masked.sum() == 1_250_824
    with h5py.File(master) as file:
        (raw,) = file["entry/data/data_000001"][()]
    assert np.array_equal(image, np.where(masked, 65535, raw))
    dead = (image == 65535) & ~masked
    assert dead.sum() == 2251
    valid = image[~masked & ~dead]
    assert valid.size == 16_840_501
    assert np.count_nonzero(valid) == 18
    assert {5261, 6504} <= set(valid.tolist())
