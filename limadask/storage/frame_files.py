"""Frames saved as files of their own, and what one worker tells of those that it saves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from limadask.errors import SaveError
from limadask.frames import Frames, Status
from limadask.storage.parts import Contents
from limadask.storage.whole_file import Make, make_whole, write_pieces

Line = dict[str, Any]
"""What is to be known of some frames, as plain data."""
_JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class FrameFile:
    """A file of a frame that is to be made.

    Parameters
    ----------
    number:
        The frame.
    path:
        The file.
    make:
        Makes it at a path that it is given, or finds it there, made before.
    """

    number: int
    path: str
    make: Make

    @classmethod
    def of(cls, number: int, path: str, content: bytes) -> FrameFile:
        """Return a file of these bytes."""
        return cls(number, path, partial(write_pieces, [content]))


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """Some frames, ready to be written.

    Parameters
    ----------
    line:
        What is to be known of them.
    files:
        Their files; the last of a frame's makes it count as saved.
    nbytes:
        Bytes that are held for them.
    """

    line: Line
    files: list[FrameFile]
    nbytes: int


class FrameWriter:
    """Writes files of frames for one worker: each is there whole or not at all.

    A file cannot tell the status of its frame, so what became of it is written before, a line for
    each block. From its last file on a frame is safe, also when the process is killed.

    Parameters
    ----------
    scratch:
        A folder of this worker's own, beside the files, for this run alone.
    uuid:
        The acquisition.

    Raises
    ------
    OSError
        When it cannot be written.
    """

    def __init__(self, scratch: Path, uuid: str) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._scratch, self._lock = str(scratch), threading.Lock()
        self._journal: int | None = os.open(scratch / _JOURNAL, os.O_CREAT | os.O_WRONLY, 0o666)
        self._tell({"uuid": uuid})

    def temporary(self, path: str) -> str:
        """Return where a file is made before it is put in its place."""
        return os.path.join(self._scratch, os.path.basename(path))

    def write(self, blocks: Sequence[FrameBlock]) -> None:
        """Write frames; on return they are safe.

        Raises
        ------
        SaveError
            When some cannot be written; the others are safe.
        """
        lost: dict[int, OSError] = {}
        for block in blocks:
            try:
                self._tell(block.line)
            except OSError as error:
                lost.update(dict.fromkeys(block.line["numbers"], error))
                continue
            for file in block.files:
                if file.number in lost:
                    continue
                try:
                    make_whole(file.path, file.make, self._scratch)
                except OSError as error:
                    lost[file.number] = error
        if lost:
            first = next(iter(lost.values()))
            failed = SaveError(first.errno, first.strerror, first.filename or self._scratch)
            failed.numbers = tuple(lost)
            raise failed from first

    def close(self) -> None:
        """Write no more; may be called again."""
        with self._lock:
            journal, self._journal = self._journal, None
        if journal is not None:
            os.close(journal)

    def _tell(self, line: Line) -> None:
        # what a full disk has cut off is ended by the next line's beginning
        content = memoryview(b"\n" + json.dumps(line).encode())
        with self._lock:
            if self._journal is None:  # nobody would know of these frames any more
                raise OSError(errno.EBADF, "The files of this acquisition are closed")
            while content:
                content = content[os.write(self._journal, content) :]


def line_of(frames: Frames) -> Line:
    """Return what is to be known of some frames."""
    odd = frames.numbers[frames.status != Status.PRESENT].tolist()
    line: Line = {
        "numbers": frames.numbers.tolist(),
        "timestamps": frames.timestamps.tolist(),
        "status": frames.status.tolist(),
    }
    if causes := {number: frames.causes[number] for number in odd if number in frames.causes}:
        line["causes"] = causes
    if frames.values is not None:
        line["values"] = frames.values.tolist()
    return line


def told(scratches: Iterable[Path], uuid: str, columns: Sequence[str] = ()) -> Contents:
    """Return what workers have told of the frames that they were about to save.

    Parameters
    ----------
    scratches:
        Their folders; those of other runs count as empty, as do those that are not there.
    uuid:
        The acquisition.
    columns:
        Names of what the detector tells of each frame; what they say of others is left out.
    """
    rows: dict[int, tuple[int, int, Sequence[float]]] = {}
    causes: dict[int, str] = {}
    unknown = [float("nan")] * len(columns)
    for scratch in scratches:
        for line in _lines(scratch, uuid):
            values = [unknown] * len(line["numbers"])
            if columns:
                values = line.get("values", values)
            fates = zip(line["timestamps"], line["status"], values, strict=True)
            rows.update(zip(line["numbers"], fates, strict=True))
            causes.update({int(number): cause for number, cause in line.get("causes", {}).items()})
    numbers = sorted(rows)
    table = np.empty((len(numbers), len(columns)))
    for place, number in enumerate(numbers):
        table[place] = rows[number][2]
    return Contents(
        (),
        np.array(numbers, np.int64),
        np.array([rows[one][0] for one in numbers], np.int64),
        np.array([rows[one][1] for one in numbers], np.uint8),
        causes=causes,
        values={name: table[:, place] for place, name in enumerate(columns)},
    )


def of_frames(contents: Contents, saved: Iterable[int]) -> Contents:
    """Return what was told of the frames whose files are there."""
    there = set(saved)
    kept = np.array([number in there for number in contents.numbers.tolist()], bool)
    return Contents(
        (),
        contents.numbers[kept],
        contents.timestamps[kept],
        contents.status[kept],
        causes={number: cause for number, cause in contents.causes.items() if number in there},
        values={name: values[kept] for name, values in contents.values.items()},
    )


def _lines(scratch: Path, uuid: str) -> list[Line]:
    """Return the lines that are whole, none of another run."""
    try:
        content = (scratch / _JOURNAL).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines: list[Line] = []
    for text in content.split("\n"):
        try:
            lines.append(json.loads(text))
        except ValueError:  # empty, or cut off
            continue
    return lines[1:] if lines and lines[0].get("uuid") == uuid else []
