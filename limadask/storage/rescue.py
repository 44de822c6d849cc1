"""Master files for data files that have none: their run died before its end."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Mosaic, Spec
from limadask.geometry import Affine, Grid, Rect
from limadask.ledger import Ledger
from limadask.storage.entry import DATA, entries_of
from limadask.storage.master import saved_entries, write_master
from limadask.storage.parts import DAMAGED, read_contents, read_file
from limadask.storage.product_entry import products_of
from limadask.storage.recovery import is_marked, recover
from limadask.storage.run_entry import WHOLE_RUN
from limadask.storage.series import all_series
from limadask.storage.sparse_entry import background_of
from limadask.task import Products, RunRecord

QUIET = 10.0
"""Seconds without a write after which a writer on another computer is taken for dead."""


@dataclass(frozen=True)
class Rescued:
    """A master file that was made.

    Parameters
    ----------
    path, entry:
        The file, and its entry for the run.
    uuid:
        The acquisition.
    frames:
        Frames ``present``, ``partial``, ``absent`` and ``vetoed``.
    """

    path: str
    entry: str
    uuid: str
    frames: dict[str, int]


@dataclass(frozen=True)
class Rescue:
    """What was done in a folder.

    Parameters
    ----------
    made:
        The master files.
    empty:
        Data files without a byte: their writers died while they began them.
    damaged:
        Data files that cannot be read, and why.
    """

    made: tuple[Rescued, ...]
    empty: tuple[str, ...]
    damaged: dict[str, str]


def rescue(folder: Path, force: bool = False) -> Rescue:
    """Make a master over the data files of every run in ``folder`` that has none.

    A file that cannot be read is left out: it must not keep the others from their master.

    Parameters
    ----------
    folder:
        Where the data files lie.
    force:
        Take writers for dead without looking.

    Raises
    ------
    ConfigError
        When there is no such folder, or a file is still being written.
    OSError
        When a master cannot be read or written.
    """
    if not folder.is_dir():
        raise ConfigError("is no folder", node="recover", field="folder", value=str(folder))
    made, empty, damaged = list[Rescued](), list[str](), dict[str, str]()
    for prefix, ranks in all_series(folder).items():
        begun = [path for some in ranks.values() for path in some]
        files = [path for path in begun if path.stat().st_size]
        empty += [str(path) for path in begun if not path.stat().st_size]
        master = folder / f"{prefix}_master.h5"
        known = set(_known(master))
        if not force:
            _check_quiet([path for path in files if is_marked(path)])
        for (uuid, entry), mine in _by_run(files, damaged).items():
            if (uuid, _origin(mine[0], entry).node) not in known:
                made.append(_rescue(master, uuid, entry, mine))
    return Rescue(tuple(made), tuple(empty), damaged)


def _rescue(master: Path, uuid: str, saved_as: str, files: list[Path]) -> Rescued:
    saved = _origin(files[0], saved_as)
    spec, origin = saved.mosaic.whole, saved.origin
    contents = read_contents(files, len(saved.mosaic.regions), saved_as)
    ledger, merged = Ledger(), spec.nb_merged
    numbers = contents.numbers[:, np.newaxis] * merged + np.arange(merged)
    ledger.mark_frames(
        numbers.ravel(),
        np.repeat(contents.status, merged),
        lambda number: contents.causes.get(number // merged, "worker_lost"),
    )
    ledger.finish("worker_lost", None if spec.nb_frames is None else spec.nb_frames * merged)
    stamps = contents.timestamps[contents.timestamps > 0]
    ended = max(path.stat().st_mtime_ns for path in files)
    run = RunRecord(
        uuid,
        "failed",
        len(ledger),
        ledger,
        origin.get("parameters") or {"user": {}, "hardware": {}, "software": {}},
        origin.get("detector") or {"model": "unknown", "shape": spec.grid.shape},
        origin.get("metadata") or {},
        int(stamps.min()) if len(stamps) else ended,
        ended,
        error="the run died before its end; recovered from its data files",
    )
    entry = write_master(
        master, saved.node, saved.products or spec, [str(path) for path in files], run,
        always_4d=saved.always_4d, mosaic=saved.mosaic, entry=saved_as,
    )  # fmt: skip
    return Rescued(str(master), entry, uuid, ledger.counts())


@dataclass(frozen=True)
class _Origin:
    """What an entry of a data file tells of its run.

    Parameters
    ----------
    node:
        The saver's node.
    mosaic:
        Its frames, and how the parts in the files make them.
    products:
        The by-products of these that are saved; None where they are saved themselves.
    always_4d:
        Whether one band has its axis.
    origin:
        All that is told.
    """

    node: str
    mosaic: Mosaic
    products: Products | None
    always_4d: bool
    origin: dict[str, Any]


def _origin(path: Path, name: str) -> _Origin:
    """Return what an entry of a data file tells of its run."""
    with h5py.File(path, "r") as file:
        entry = file[name]
        origin: dict[str, Any] = json.loads(entry["origin"].asstr()[()])
        node = str(origin["node"])
        if "products" in origin:
            products = products_of(origin)
            if products.of is None:
                raise ValueError("by-products of nobody knows what")
            return _Origin(node, Mosaic.of(products.of, [products.of]), products, False, origin)
        told, sparse = origin.get("mosaic"), origin.get("sparse")
        shape = tuple(sparse["shape"]) if sparse else entry[DATA].shape
        dtype = np.dtype(sparse["dtype"]) if sparse else entry[DATA].dtype
        place = told or {"shape": shape[-2:], "matrix": origin["matrix"]}
        mask = "whole_masked" if told else "masked"
        masked = np.asarray(entry[mask][()], bool) if mask in entry else None
        grid = Grid(tuple(place["shape"]), Affine.of(np.array(place["matrix"])))
        spec = Spec(
            grid,
            dtype,
            tuple(origin["bands"]),
            origin["nb_frames"],
            origin["nb_merged"],
            masked,
            tuple((str(name), str(units)) for name, units in origin.get("columns", ())),
            is_sparse=sparse is not None,
            background=background_of(entry),
            pattern=str(origin.get("pattern", "")),
        )
        mosaic = Mosaic.of(spec, [spec])
        if told:
            mosaic = Mosaic(spec, tuple(Rect(*one) for one in told["regions"]))
        return _Origin(node, mosaic, None, len(shape) == 4 and len(spec.bands) == 1, origin)


def _by_run(files: list[Path], damaged: dict[str, str]) -> dict[tuple[str, str], list[Path]]:
    """Return the files of each acquisition and entry."""
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in files:
        try:
            for key in _sound_entries(path):
                found[key].append(path)
        except DAMAGED as error:
            damaged[str(path)] = f"{type(error).__name__}: {error}"
    return found


def _sound_entries(path: Path) -> list[tuple[str, str]]:
    """Return acquisition and name of each entry of a data file, all of which can be read."""
    recover(path)
    with h5py.File(path, "r") as file:
        told = {name: dict(file[name].attrs) for name in entries_of(file)}
        # what a worker knows of a whole run is nothing without its task
        has_origin = [
            name for name in told if "origin" in file[name] and WHOLE_RUN not in file[name].attrs
        ]
    for name in has_origin:
        table, spec = read_file(path, name).table, _origin(path, name).mosaic.whole
        _check_numbers(table["frame_number"], spec.nb_frames)
    named = ((name, told[name].get("acquisition")) for name in has_origin)
    return [(str(uuid), name) for name, uuid in named if uuid]


def _check_numbers(numbers: NDArray[np.int64], nb_frames: int | None) -> None:
    """Refuse frame numbers beyond the run: a master up to a damaged one would have no end."""
    if nb_frames is not None and len(numbers) and numbers.max() >= nb_frames:
        raise OSError(f"it tells of frame {numbers.max()}, where {nb_frames} were expected")


def _known(master: Path) -> Iterator[tuple[str, str]]:
    """Yield the acquisitions, and the nodes, that a master has an entry for.

    Raises
    ------
    OSError
        When it cannot be read.
    """
    if not master.exists():
        return
    try:
        with h5py.File(master, "r") as file:
            yield from (one for _, one in saved_entries(file))
    except DAMAGED as error:
        raise OSError(f"{master} is damaged, move it away to have it made anew: {error}") from error


def _check_quiet(files: list[Path]) -> None:
    """Refuse files that somebody still writes: here by their open handles, elsewhere by time."""
    mine = {os.path.realpath(path) for path in files}
    if not mine:
        return
    for process in psutil.process_iter():
        try:
            held = {one.path for one in process.open_files()} & mine
        except (psutil.Error, OSError):
            continue
        if held:
            raise _busy(min(held), f"process {process.pid} has it open")
    for path in files:
        quiet = time.time() - path.stat().st_mtime
        if 0 <= quiet < QUIET:
            raise _busy(str(path), f"it was written {quiet:.0f} s ago")


def _busy(path: str, why: str) -> ConfigError:
    return ConfigError(
        f"is being written: {why}; wait for the end of its run, or use --force when its writer is "
        "dead",
        node="recover", field="folder", value=path, allowed="files that nobody writes any more",
    )  # fmt: skip
