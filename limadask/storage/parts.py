"""What the data files of a run hold, before they are joined."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.storage.data_file import DATA, DETECTOR, VALIDITY
from limadask.storage.recovery import recover

logger = logging.getLogger(__name__)


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
    """

    path: Path
    first: int
    count: int
    slot: int
    length: int


@dataclass(frozen=True, slots=True)
class Contents:
    """All frames that the data files of a run hold, each once.

    Parameters
    ----------
    pieces:
        Where they are, by frame number.
    lacking:
        Files with frames that lack pixels, and the numbers of these.
    numbers, timestamps, status:
        Frame numbers, increasing, and what is known of each frame.
    """

    pieces: tuple[Piece, ...]
    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    lacking: tuple[tuple[Path, NDArray[np.int64]], ...] = ()


def read_contents(files: Sequence[Path]) -> Contents:
    """Read which frames the files hold; of a frame saved twice the first counts.

    Files whose writer died are made readable first. Those that cannot be read count as empty.
    """
    tables, lengths, lacking = [], [0] * len(files), []
    for index, path in enumerate(files):
        try:
            recover(path)
            with h5py.File(path, "r") as file:
                length = len(file[DATA])
                columns = [file[f"{DETECTOR}/{name}"][:length] for name in _COLUMNS]
                lacks = file[f"{VALIDITY}/frame_number"][: len(file[f"{VALIDITY}/invalid"])]
        except (OSError, KeyError, RuntimeError) as error:
            logger.warning("%s cannot be read: %s", path, error)
            continue
        if len(lacks):
            lacking.append((Path(path), lacks))
        rows = min(map(len, columns))
        table = np.empty(rows, _ROW)
        for name, column in zip(_COLUMNS, columns, strict=True):
            table[name] = column[:rows]
        table["file"], table["slot"] = index, np.arange(rows)
        tables.append(table[table["frame_number"] >= 0])
        lengths[index] = length
    whole = np.concatenate(tables) if tables else np.empty(0, _ROW)
    _, first = np.unique(whole["frame_number"], return_index=True)
    whole = whole[first]
    breaks = np.flatnonzero(
        (np.diff(whole["frame_number"]) != 1)
        | (np.diff(whole["slot"]) != 1)
        | (np.diff(whole["file"]) != 0)
    )
    starts = np.concatenate([[0], breaks + 1]) if len(whole) else np.empty(0, int)
    stops = np.concatenate([breaks + 1, [len(whole)]]) if len(whole) else starts
    pieces = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        row = whole[start]
        file = int(row["file"])
        pieces.append(
            Piece(
                Path(files[file]),
                int(row["frame_number"]),
                stop - start,
                int(row["slot"]),
                lengths[file],
            )
        )
    return Contents(
        tuple(pieces),
        whole["frame_number"].copy(),
        whole["timestamp"].copy(),
        whole["status"].copy(),
        tuple(lacking),
    )


def unreadable(files: Sequence[Path]) -> list[str]:
    """Return which of the files are gone or cannot be read, and why."""
    found = []
    for path in files:
        try:
            with h5py.File(path, "r") as file:
                if DATA not in file:
                    raise OSError("it holds no frames")
        except (OSError, RuntimeError) as error:
            text = str(error) if path.exists() else "the file is gone"
            found.append(f"{path}: {text}")
    return found


def files_of_run(files: Sequence[Path], uuid: str) -> list[Path]:
    """Return those of the files that an acquisition has written, made readable.

    One that cannot be read is left out: its writer died before it held a frame, or it is damaged.
    """
    mine = []
    for path in files:
        try:
            recover(path)
            with h5py.File(path, "r") as file:
                if file["entry"].attrs.get("acquisition") == uuid:
                    mine.append(path)
        except (OSError, KeyError, RuntimeError) as error:
            logger.warning("%s is left out: %s", path, error)
    return mine


_COLUMNS = ("frame_number", "timestamp", "status")
_ROW = np.dtype(
    [("frame_number", "i8"), ("timestamp", "i8"), ("status", "u1"), ("file", "i8"), ("slot", "i8")]
)
