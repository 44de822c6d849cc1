"""A small disk of one's own: a tmpfs in a mount namespace that ends with its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from limadask.memory.system import is_in_memory

_MOUNT = 'mount -t tmpfs -o size="$1" limadask "$2" && shift 2 && exec "$@"'


@cache
def _refusal() -> str:
    """Return why this machine lets us mount nothing, empty if it does."""
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs limadask /mnt"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError as error:
        return str(error)
    return tried.stderr.strip() or f"status {tried.returncode}" if tried.returncode else ""


def on_small_disk(script: Path, disk: Path, *arguments: str, size: str = "2m") -> dict[str, Any]:
    """Run a script with a small disk at ``disk``; return the JSON of the last line it prints."""
    if refusal := _refusal():
        pytest.skip(f"no file system can be mounted here: {refusal}")
    disk.mkdir()
    python = [sys.executable, "-W", "error", str(script), str(disk), *arguments]
    command = ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", size, str(disk), *python]
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **own}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ended.returncode == 0, f"status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def on_disk(folder: Path) -> Path:
    """Return a folder; skip where it is in memory, as ``/tmp`` is on some systems."""
    if is_in_memory(folder):
        pytest.skip(f"{folder} is in memory")
    return folder


def fill(disk: Path, name: str = "filler", free: int = 0) -> Path:
    """Fill a disk, but for some bytes at its end; return the file that does."""
    path = disk / name
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            file.truncate(max(0, file.tell() - free))
    return path
