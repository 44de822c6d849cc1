"""What the data files of a run hold, before they are joined."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import Status
from limadask.storage.entry import (
    CAUSES,
    COLUMNS,
    DATA,
    ENTRY,
    VALIDITY,
    table_of,
)
from limadask.storage.recovery import recover
from limadask.storage.rows import rows_of

logger = logging.getLogger(__name__)
DAMAGED = OSError, KeyError, RuntimeError, ValueError, TypeError
"""What h5py and its callers raise for files that are damaged."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring frames that lie one after the other in one file.

    Parameters
    ----------
    path:
        The file.
    first, count:
        Their frame numbers.
    slot:
        Place of the first in the file.
    length:
        Frames that the file has room for.
    part:
        Which part of the frames it holds.
    """

    path: Path
    first: int
    count: int
    slot: int
    length: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class Lacking:
    """Frames of one file that lack pixels, in the order in which it tells of them.

    Parameters
    ----------
    path:
        The file.
    part:
        Which part of the frames it holds.
    numbers:
        The frames.
    """

    path: Path
    part: int
    numbers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Missing:
    """Frames of which one part is in no file, though others are.

    Parameters
    ----------
    part:
        Which part.
    numbers:
        The frames, increasing.
    """

    part: int
    numbers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Contents:
    """All frames that the data files of a run hold, each once.

    Parameters
    ----------
    pieces:
        Where they are, by part and frame number.
    numbers, timestamps, status:
        Frame numbers, increasing, and what is known of each frame: one that some part is missing
        of is partial.
    lacking:
        Files with frames that lack pixels.
    missing:
        Runs of frames that a part is missing of.
    causes:
        Why frames are not present, by number, as the files tell.
    values:
        What else the detector told of each frame, by name, shape ``(frame,)``; NaN where it did
        not.
    """

    pieces: tuple[Piece, ...]
    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    lacking: tuple[Lacking, ...] = ()
    missing: tuple[Missing, ...] = ()
    causes: Mapping[int, str] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What a data file tells of its frames.

    Parameters
    ----------
    table:
        A row for each.
    length:
        Frames that it has room for.
    lacking:
        Those that lack pixels.
    causes:
        Why some are not present, by number.
    values:
        What else the detector told of them, by name, a value for each row.
    """

    table: NDArray[np.void]
    length: int
    lacking: Lacking
    causes: Mapping[int, str]
    values: Mapping[str, NDArray[np.float64]]


def read_contents(files: Sequence[Path], nb_parts: int = 1, entry: str = ENTRY) -> Contents:
    """Read which frames an entry of the files holds; of a frame saved twice the first counts.

    Files whose writer died are made readable first. Those that cannot be read count as empty.

    Parameters
    ----------
    files:
        The data files.
    nb_parts:
        Parts that each frame comes in; a file holds one of them.
    entry:
        Name of the entry.
    """
    found, lengths, causes = list[Told](), [0] * len(files), dict[int, str]()
    for index, path in enumerate(files):
        try:
            told = read_file(path, entry)
        except DAMAGED as error:
            logger.warning("%s cannot be read: %s", path, error)
            continue
        causes = {**told.causes, **causes}
        lengths[index] = told.length
        told.table["file"] = index
        found.append(told)
    lacking = [told.lacking for told in found if len(told.lacking.numbers)]
    whole = np.concatenate([told.table for told in found]) if found else np.empty(0, _ROW)
    _, first = np.unique(whole[["part", "frame_number"]], return_index=True)
    whole, values = whole[first], {n: one[first] for n, one in _joined_values(found).items()}
    pieces = tuple(_pieces(whole, files, lengths))
    numbers, first, count = np.unique(whole["frame_number"], return_index=True, return_counts=True)
    status = whole["status"][first]
    partial = numbers[count < nb_parts]
    odd = whole["frame_number"][whole["status"] != Status.PRESENT] if nb_parts > 1 else partial
    status[np.isin(numbers, np.concatenate([partial, odd]))] = Status.PARTIAL
    missing = [
        Missing(part, np.setdiff1d(partial, whole["frame_number"][whole["part"] == part]))
        for part in (range(nb_parts) if len(partial) else ())
    ]
    stamps = whole["timestamp"][first]
    values = {name: one[first] for name, one in values.items()}
    return Contents(pieces, numbers, stamps, status, tuple(lacking), tuple(missing), causes, values)


def _joined_values(found: Sequence[Told]) -> dict[str, NDArray[np.float64]]:
    """Return the values of several files one after the other; NaN where one does not tell."""
    names = dict.fromkeys(name for told in found for name in told.values)
    return {
        name: np.concatenate(
            [told.values.get(name, np.full(len(told.table), np.nan)) for told in found]
        )
        for name in names
    }


def read_file(path: Path, entry: str = ENTRY) -> Told:
    """Return what a file tells of the frames of an entry.

    Raises
    ------
    Exception
        One of :data:`DAMAGED` when it cannot be read.
    """
    recover(path)
    with h5py.File(path, "r") as file:
        group = file[entry]
        rows, part = rows_of(group), int(group.attrs.get("part", 0))
        length = len(group[DATA]) if DATA in group else rows
        table = np.empty(rows, _ROW)
        for name in _COLUMNS:
            table[name] = table_of(group)[name][:rows]
        lacks = np.empty(0, np.int64)
        if VALIDITY in group:
            lacks = group[f"{VALIDITY}/frame_number"][: len(group[f"{VALIDITY}/invalid"])]
        causes = dict(_causes(group))
        values = {name: one[()] for name, one in group.get(COLUMNS, {}).items()}
    table["slot"], table["part"] = np.arange(rows), part
    is_there = table["frame_number"] >= 0
    kept = {name: _padded(one, rows)[is_there] for name, one in values.items()}
    return Told(table[is_there], length, Lacking(Path(path), part, lacks), causes, kept)


def _padded(column: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Return so many values, NaN where the writer died before it had written them."""
    missing = max(0, rows - len(column))
    return np.concatenate([column[:rows], np.full(missing, np.nan)])


def _causes(entry: h5py.Group) -> Iterator[tuple[int, str]]:
    """Yield why frames of an entry are not present."""
    if CAUSES in entry:  # files of earlier versions do not tell
        texts = entry[f"{CAUSES}/cause"][()]
        numbers = entry[f"{CAUSES}/frame_number"][()].tolist()
        for number, text in zip(numbers, texts.tolist(), strict=False):
            yield number, text.decode("utf-8", "ignore")


def _pieces(
    whole: NDArray[np.void], files: Sequence[Path], lengths: Sequence[int]
) -> Iterator[Piece]:
    """Yield the runs of frames that follow each other in one file."""
    breaks = np.flatnonzero(
        (np.diff(whole["frame_number"]) != 1)
        | (np.diff(whole["slot"]) != 1)
        | (np.diff(whole["file"]) != 0)
    )
    starts = np.concatenate([[0], breaks + 1]) if len(whole) else np.empty(0, int)
    stops = np.concatenate([breaks + 1, [len(whole)]]) if len(whole) else starts
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        number, slot, file, part = (
            int(whole[start][name]) for name in ("frame_number", "slot", "file", "part")
        )
        yield Piece(Path(files[file]), number, stop - start, slot, lengths[file], part)


def unreadable(files: Sequence[Path], entry: str = ENTRY) -> list[str]:
    """Return which of the files are gone or do not hold an entry, and why."""
    found = []
    for path in files:
        try:
            with h5py.File(path, "r") as file:
                rows_of(file[entry])
        except DAMAGED as error:
            text = str(error) if path.exists() else "the file is gone"
            found.append(f"{path}: {text}")
    return found


def files_of_run(files: Sequence[Path], uuid: str, entry: str = ENTRY) -> list[Path]:
    """Return those of the files in which an acquisition has written an entry, made readable.

    One that cannot be read is left out: its writer died before it held a frame, or it is damaged.
    """
    mine = []
    for path in files:
        try:
            recover(path)
            with h5py.File(path, "r") as file:
                if entry in file and file[entry].attrs.get("acquisition") == uuid:
                    mine.append(path)
        except DAMAGED as error:
            logger.warning("%s is left out: %s", path, error)
    return mine


_COLUMNS = ("frame_number", "timestamp", "status")
_ROW = np.dtype(
    [
        ("part", "i8"),
        ("frame_number", "i8"),
        ("timestamp", "i8"),
        ("status", "u1"),
        ("file", "i8"),
        ("slot", "i8"),
    ]
)
