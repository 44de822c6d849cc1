"""Checksums are what ``sha256sum`` finds, also of files with odd names and of dead workers."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from harness import record
from strategies import block

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.ledger import Ledger
from limadask.storage import Digests, recover, write_manifest
from limadask.task import Place
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

SPEC = Spec(Grid((4, 5)), np.dtype("u2"), nb_frames=6)


def verified(manifest: Path) -> list[str]:
    """Return the files that sha256sum finds unchanged; raises where some are not."""
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", manifest.name], cwd=manifest.parent, timeout=60,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(line.removesuffix(": OK") for line in done.stdout.splitlines())


def saved(folder: Path, uuid: str = "one", kills: bool = False, **fields: Any) -> Path:
    """Save by two workers, the second of which may die; return the manifest."""
    settings = {"prefix": "run", "nb_frames_per_file": 2, "manifest": "sha256", **fields}
    task = SaveHdf5(folder=str(folder), **settings)
    places = [Place("file", uuid, rank, 2) for rank in range(2)]
    writers = [task.open(SPEC, place) for place in places]
    ledger = Ledger()
    for number, writer in enumerate(writers):
        frames = block(number, SPEC, 3, first=3 * number)
        writer.write([writer.encode(frames)])
        ledger.mark_frames(frames.numbers, frames.status, lambda _: "")
    parts = [writers[0].close()]
    if kills:  # its last file stays marked as open, and is recovered by who joins
        assert recover(writers[1]._series.paths[-1])
    else:
        parts.append(writers[1].close())
    task.join(SPEC, places[0], parts, record(ledger, 6, uuid=uuid))
    return folder / "run_manifest.sha256"


@pytest.mark.parametrize("kills", [False, True])
def test_all_files_are_verified(tmp_path: Path, kills: bool) -> None:
    found = verified(saved(tmp_path, kills=kills))
    assert found == sorted(path.name for path in tmp_path.glob("*.h5"))
    assert len(found) == 5
    with open(tmp_path / "run_0_00000.h5", "r+b") as file:
        file.write(b"x")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        verified(tmp_path / "run_manifest.sha256")
    assert "run_0_00000.h5: FAILED" in caught.value.stdout


def test_a_further_run_is_added(tmp_path: Path) -> None:
    saved(tmp_path)
    found = verified(saved(tmp_path, "two", file_exists_policy="append"))
    assert len(found) == 9
    again = verified(saved(tmp_path, "three", file_exists_policy="overwrite"))
    assert len(again) == 5


def test_a_manifest_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "run_manifest.sha256").touch()
    with pytest.raises(ConfigError, match="exists"):
        SaveHdf5(folder=str(tmp_path), prefix="run").check()


def test_names_are_escaped_as_sha256sum_does(tmp_path: Path) -> None:
    names = ["plain", "with  blanks", "back\\slash", "new\nline", "é"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    digests = Digests()
    digests.add([str(tmp_path / name) for name in names])
    digests.add([str(tmp_path / "nowhere")])
    found = {Path(path).name: value for path, value in digests.close().items()}
    assert found == {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    for _ in range(2):  # the second time over what there is
        write_manifest(tmp_path / "manifest", found, tmp_path / "plain")
        assert len(verified(tmp_path / "manifest")) == len(names)


def test_a_run_on_a_cluster_is_verified(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), nb_frames_per_file=5, manifest="sha256"))
    with ld.Acquisition(
        client, Simulator(shape=(64, 48)), pipe, nb_frames=40, expo_time=1e-3,
        topology=ld.Topology(workers=2), buffers=ld.Buffers(nb_frames_per_block=5),
    ) as run:  # fmt: skip
        run.prepare()
        run.start()
        run.wait(timeout=60)
    found = verified(tmp_path / "limadask_manifest.sha256")
    assert found == sorted(path.name for path in tmp_path.glob("*.h5"))
    assert len(found) > 5
