"""``limadask recover``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

import limadask as ld
from limadask_tasks import SaveHdf5

Limadask = Callable[..., "subprocess.CompletedProcess[str]"]


def left_behind(folder: Path) -> None:
    """Data files without a master."""
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"))
    ld.process(np.arange(60, dtype="u2").reshape(3, 4, 5), pipe)
    (folder / "run_master.h5").unlink()


def test_a_master_is_made_once(limadask: Limadask, tmp_path: Path) -> None:
    left_behind(tmp_path)
    done = limadask("recover", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout.splitlines()[-1])["recovered"]
    assert made["frames"]["present"] == 3
    with h5py.File(made["path"]) as file:
        assert file["entry/data/data"][2].tolist()[0] == [40, 41, 42, 43, 44]
    again = limadask("recover", tmp_path)
    assert again.returncode == 0
    assert "nothing to recover" in again.stdout


def test_what_is_no_folder_is_refused(limadask: Limadask, tmp_path: Path) -> None:
    done = limadask("recover", tmp_path / "nowhere", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["field"] == "folder"


def test_a_damaged_file_is_named_and_the_others_get_their_master(
    limadask: Limadask, tmp_path: Path
) -> None:
    left_behind(tmp_path)
    (tmp_path / "run_1_00000.h5").write_bytes(b"nothing")
    done = limadask("recover", tmp_path, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout.splitlines()[-1])
    assert [one["frames"]["present"] for one in told["recovered"]] == [3]
    assert "no HDF5 file" in told["damaged"][str(tmp_path / "run_1_00000.h5")]


def test_a_file_that_was_just_begun_disturbs_nobody(limadask: Limadask, tmp_path: Path) -> None:
    left_behind(tmp_path)
    (tmp_path / "run_0_00001.h5").touch()
    done = limadask("recover", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [one["frames"]["present"] for one in told["recovered"]] == [3]
    assert told["empty"] == [str(tmp_path / "run_0_00001.h5")]


def test_frames_keep_the_causes_that_the_data_files_tell(
    limadask: Limadask, tmp_path: Path
) -> None:
    @ld.veto
    def hits(block: xr.DataArray) -> Any:
        return block["frame"] != 2

    pipe = ld.Pipeline()
    pipe.add("hits", hits())
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run", vetoed="keep"), after="hits")
    block = xr.DataArray(np.ones((4, 1, 5, 6), "u2"), dims=("frame", "band", "y", "x"))
    invalid = np.zeros(block.shape, bool)
    invalid[1, :, 2] = True
    status = [1, 2, 1, 1]
    block = block.assign_coords(
        invalid=(block.dims, invalid), status=("frame", status),
        cause=("frame", ["", "packets_lost", "", ""]),
    )  # fmt: skip
    ld.process(block, pipe)
    (tmp_path / "run_master.h5").unlink()
    done = limadask("recover", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout.splitlines()[-1])["recovered"]
    with h5py.File(made["path"]) as file:
        assert file["entry/data/frame_status"][()].tolist() == [1, 2, 4, 1]
        causes = file["entry/data/frame_cause"].asstr()[()].tolist()
    assert causes == ["", "packets_lost", "veto:hits", ""]
