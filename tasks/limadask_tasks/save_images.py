"""Save each frame as an image file."""

from __future__ import annotations

import errno
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

from numpy.typing import NDArray
from pydantic import field_validator

from limadask.frames import NEVER, Frames, Spec, Status
from limadask.storage.fates import saved_fates
from limadask.storage.frame_files import (
    FrameBlock,
    FrameFile,
    FrameWriter,
    line_of,
    of_frames,
    told,
)
from limadask.storage.nexus import iso
from limadask.storage.parts import Contents
from limadask.storage.plain import plain
from limadask.storage.whole_file import write_whole
from limadask.task import Place, Recovered, RunRecord
from limadask.version import __version__
from limadask_tasks.folder_saver import FolderSaver
from limadask_tasks.image_formats import (
    SUFFIXES,
    Header,
    Headers,
    ImageFormat,
    check_dtype,
    stored,
    write_image,
)
from limadask_tasks.image_names import ImageNames, check_template, pattern

_ONE, _MANY = "{prefix}_{number:05d}.{format}", "{prefix}_{number:05d}_{band}.{format}"


class SaveImages(FolderSaver):
    """Save each band of each frame as an image file of its own, and a list of them.

    The list ``{prefix}_{format}.json`` is written at the end: what became of each frame, its files,
    and what is known of the run. Frames that are absent have no file.
    """

    file_exists_policy: Literal["abort", "overwrite"] = "abort"
    """When an older run of this prefix is there: refuse, or replace it."""
    format: ImageFormat = "cbf"
    """Format: ``cbf`` is compressed, and has integers of up to 32 bits; ``edf`` has any pixels."""
    name: str | None = None
    """Template of the files' names, of the fields ``prefix``, ``number``, ``band``, ``band_name``,
    ``uuid`` and ``format``; None takes ``{prefix}_{number:05d}.{format}``, for several bands
    ``{prefix}_{number:05d}_{band}.{format}``."""

    @field_validator("name")
    def _template(cls, value: str | None) -> str | None:  # noqa: N805 - pydantic's class method
        if value is not None:
            check_template(value)
        return value

    def plan(self, spec: Spec) -> None:
        """Find pixels that the format has not, and names that are not unique."""
        check_dtype(self.format, spec.dtype)
        self._names(spec, "").check(SUFFIXES[self.format])

    def path(self) -> str:
        """Return the path of the list of files."""
        return str(self._index)

    def taken(self) -> Path | None:
        """Return the list, or an image, of an older run, if there is one."""
        templates = [self.name] if self.name else [_ONE, _MANY]
        patterns = [pattern(one, self.prefix, self.format) for one in templates]
        folder = Path(self.folder)
        if self._index.exists():
            return self._index
        found = folder.iterdir() if folder.is_dir() else iter(())
        return next((p for p in found if any(one.fullmatch(p.name) for one in patterns)), None)

    def open(self, spec: Spec, place: Place) -> ImageWriter:
        """Make the folder; remove an older run's images if they are to be replaced."""
        try:
            files = FrameWriter(self._scratch(place.uuid, place.rank), place.uuid)
            if place.rank == 0 and self.file_exists_policy == "overwrite":
                self._remove_older()
        except OSError as error:
            raise self.unwritable(error) from error
        headers = Headers(self.format, spec, place.about)
        return ImageWriter(files, Path(self.folder), self._names(spec, place.uuid), headers)

    def recover(self, spec: Spec, place: Place, rank: int) -> Recovered:
        """Return the frames that a worker had saved before it died."""
        found = self._saved(spec, place.uuid, [rank])
        return Recovered(found.numbers, found.status, found.causes)

    def join(self, spec: Spec, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Write the list of files.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        if self._listed().get("uuid") != run.uuid:  # else by a worker that died before it said so
            contents = self._saved(spec, run.uuid, range(place.ranks))
            about = self._about(spec, place, run) | {"frames": self._frames(spec, run, contents)}
            content = json.dumps(plain(about), indent=1).encode()
            write_whole(self._index, content, self._scratch(run.uuid, place.rank))
        for rank in range(place.ranks):
            shutil.rmtree(self._scratch(run.uuid, rank), ignore_errors=True)

    def _saved(self, spec: Spec, uuid: str, ranks: Any) -> Contents:
        """Return what workers tell of frames all of whose files are there."""
        found = told((self._scratch(uuid, rank) for rank in ranks), uuid)
        folder, names, bands = Path(self.folder), self._names(spec, uuid), range(len(spec.bands))
        there = (
            number
            for number in found.numbers.tolist()
            if all((folder / names.name(number, band)).exists() for band in bands)
        )
        return of_frames(found, there)

    def _frames(self, spec: Spec, run: RunRecord, contents: Contents) -> list[dict[str, Any]]:
        """Return what became of each frame."""
        numbers = contents.numbers.tolist()
        count = max(-(-run.nb_frames // spec.nb_merged), max(numbers, default=-1) + 1)
        status, causes = saved_fates(contents, run.ledger, count, spec.nb_merged)
        names, bands = self._names(spec, run.uuid), range(len(spec.bands))
        stamps = dict(zip(numbers, contents.timestamps.tolist(), strict=True))
        return [
            {
                "frame": number,
                "status": Status(int(status[number])).name.lower(),
                "cause": causes[number].decode(),
                "timestamp": iso(stamp) if (stamp := stamps.get(number, NEVER)) != NEVER else None,
                "files": [names.name(number, band) for band in bands] if number in stamps else [],
            }
            for number in range(count)
        ]

    def _about(self, spec: Spec, place: Place, run: RunRecord) -> dict[str, Any]:
        return {
            "creator": f"limadask {__version__}",
            "uuid": run.uuid,
            "run_state": run.state,
            "error": run.error,
            "node": place.node,
            "start_time": iso(run.started),
            "end_time": iso(run.ended),
            "format": self.format,
            "dtype": spec.dtype.name,
            "shape": spec.grid.shape,
            "bands": spec.bands,
            "image_transform": spec.grid.affine.as_array(),
            "parameters": run.parameters,
            "detector": run.detector,
            "metadata": run.metadata,
            "failures": run.ledger.failures.lines(),
        }

    @property
    def _index(self) -> Path:
        return Path(self.folder) / f"{self.prefix}_{self.format}.json"

    def _scratch(self, uuid: str, rank: int) -> Path:
        return Path(self.folder) / f".{self.prefix}_{self.format}.{uuid}.{rank}"

    def _names(self, spec: Spec, uuid: str) -> ImageNames:
        template = self.name or (_MANY if len(spec.bands) > 1 else _ONE)
        return ImageNames(template, self.prefix, self.format, uuid, spec.bands)

    def _listed(self) -> dict[str, Any]:
        """Return what the list says, nothing where there is none."""
        try:
            found = json.loads(self._index.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _remove_older(self) -> None:
        """Remove the images that the list of an older run names, and the list."""
        for frame in self._listed().get("frames", ()):
            for name in frame["files"]:
                (Path(self.folder) / Path(name).name).unlink(missing_ok=True)
        self._index.unlink(missing_ok=True)


class ImageWriter:
    """One worker's part: encodes and writes in its callers' threads, each file by itself."""

    def __init__(
        self, files: FrameWriter, folder: Path, names: ImageNames, headers: Headers
    ) -> None:
        self._files, self._folder, self._names, self._headers = files, folder, names, headers

    def encode(self, frames: Frames) -> FrameBlock:
        """Write each band of each frame, not yet where it will be found: nothing is held."""
        columns = zip(
            frames.numbers.tolist(), frames.timestamps.tolist(), frames.pixels, strict=True
        )
        files = [
            self._made(number, band, image, self._headers.header(number, band, stamp))
            for number, stamp, frame in columns
            for band, image in enumerate(frame)
        ]
        return FrameBlock(line_of(frames), files, 0)

    def write(self, encoded: list[FrameBlock]) -> None:
        """Put the files in their places."""
        self._files.write(encoded)

    def close(self) -> dict[str, Any]:
        """End."""
        self._files.close()
        return {}

    def _made(self, number: int, band: int, image: NDArray[Any], header: Header) -> FrameFile:
        """Write an image; one that the format cannot have costs its own frame only."""
        path = str(self._folder / self._names.name(number, band))
        name = self._headers.name
        try:
            write_image(name, self._files.temporary(path), stored(name, image), header)
        except OverflowError as error:
            return FrameFile(number, path, partial(_fail, str(error)))
        return FrameFile(number, path, _find)


def _find(path: str) -> None:
    """Do nothing: the file is there."""


def _fail(reason: str, path: str) -> NoReturn:
    raise OSError(errno.ERANGE, reason, path)
