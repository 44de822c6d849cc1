"""Frames of a finished store put together, many to a file.

The form of a shard: the chunks, then where each is, two little-endian u8 for each (offset and
bytes, all bits set where there is none), then the CRC-32C of that (Zarr sharding codec, 1.0).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from limadask.errors import ConfigError
from limadask.storage.whole_file import make_whole, write_pieces, write_whole
from limadask.storage.zarr_store.layout import ROOT
from limadask.storage.zarr_store.store import ZarrStore

_NONE = np.uint64(2**64 - 1)


def shard_frames(path: str | Path, nb_frames: int) -> None:
    """Put the frames of a store together, ``nb_frames`` to a file, without compressing them again.

    The store is readable all the time: the files of single frames are removed once its metadata
    tells of the shards. Only one process may do so at a time, when the run has ended. Whoever has
    opened the store before opens it again: to an open one those frames are absent.

    Parameters
    ----------
    path:
        The store.
    nb_frames:
        Frames in a file.

    Raises
    ------
    ConfigError
        When it is no store of limadask whose frames are files of their own.
    OSError
        When the shards cannot be written; the store is as it was.
    """
    path = Path(path)
    store, root = ZarrStore(path, ""), _metadata(path)
    arrays = root.get("consolidated_metadata", {}).get("metadata", {})
    name = next((one for one in ("images", "data") if one in arrays), "")
    if not name or _is_sharded(arrays[name]):
        raise ConfigError(
            "is no store with a file for each frame", field="path", value=str(path),
            allowed="the store of a run that save_zarr has saved, not sharded yet",
        )  # fmt: skip
    folder, scratch = path / name, store.scratch("shards")
    numbers = store.frames(name)
    scratch.mkdir(parents=True, exist_ok=True)
    nb_axes = len(arrays[name]["shape"]) - 1
    try:
        for shard, some in groupby(numbers, lambda number: number // nb_frames):
            target = folder.joinpath("c", str(shard), *["0"] * nb_axes)
            target.parent.mkdir(parents=True, exist_ok=True)
            make = partial(_write_shard, folder, nb_axes, shard * nb_frames, nb_frames, list(some))
            make_whole(str(target), make, scratch)
        arrays[name] = _sharded(arrays[name], nb_frames)
        for key, content in ((f"{name}/{ROOT}", arrays[name]), (ROOT, root)):
            write_whole(path / key, json.dumps(content).encode(), scratch)
    finally:
        shutil.rmtree(scratch)
    for number in numbers:
        os.unlink(folder / _key(number, nb_axes))


def _write_shard(
    folder: Path, nb_axes: int, first: int, nb_frames: int, numbers: Sequence[int], path: str
) -> None:
    import google_crc32c  # comes with zarr

    index = np.full((nb_frames, 2), _NONE, "<u8")
    pieces, place = [], 0
    for number in numbers:
        chunk = (folder / _key(number, nb_axes)).read_bytes()
        index[number - first] = place, len(chunk)
        place += len(chunk)
        pieces.append(chunk)
    told = index.tobytes()
    write_pieces([*pieces, told, google_crc32c.value(told).to_bytes(4, "little")], path)


def _sharded(array: dict[str, Any], nb_frames: int) -> dict[str, Any]:
    """Return an array's metadata with its chunks in shards."""
    chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    codec = {
        "chunk_shape": chunk,
        "codecs": array["codecs"],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    grid = {"name": "regular", "configuration": {"chunk_shape": [nb_frames, *chunk[1:]]}}
    return {
        **array,
        "chunk_grid": grid,
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": codec}],
    }


def _is_sharded(array: dict[str, Any]) -> bool:
    return any(codec["name"] == "sharding_indexed" for codec in array["codecs"])


def _key(number: int, nb_axes: int) -> str:
    return f"c.{number}" + ".0" * nb_axes


def _metadata(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / ROOT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
