"""A Zarr store on disk: begun by several workers at once, ended by one."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

from limadask.storage.whole_file import write_whole
from limadask.storage.zarr_store.layout import INVALID, ROOT

TAKEN = errno.ENOTEMPTY, errno.EEXIST


class ZarrStore:
    """The store of one acquisition.

    Parameters
    ----------
    path:
        Its folder.
    uuid:
        The acquisition.
    """

    def __init__(self, path: Path, uuid: str) -> None:
        self.path, self._uuid = path, uuid

    def scratch(self, name: int | str) -> Path:
        """Return a folder beside the store, of a worker's own, by its rank, or for a purpose."""
        return self.path.with_name(f".{self.path.name}.{self._uuid}.{name}")

    def begin(self, documents: Mapping[str, bytes], scratch: Path, overwrite: bool) -> None:
        """Make the store, unless another worker of this run has; it is there whole at once.

        Raises
        ------
        FileExistsError
            When there is one of another run that is not to be replaced, or something else.
        OSError
            When it cannot be written.
        """
        made = scratch / "store"
        for key, content in documents.items():
            (made / key).parent.mkdir(parents=True, exist_ok=True)
            (made / key).write_bytes(content)
        while not self._placed(made):
            there = self._identity()
            found = self.attributes()
            if found is None and self._identity() != there:
                continue  # another worker has just replaced it
            if found is not None and found.get("uuid") == self._uuid:
                shutil.rmtree(made)
                return
            if found is None or not overwrite:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
            self._set_aside()
            ZarrStore(self.path, str(found.get("uuid"))).forget()  # it may have died

    def attributes(self) -> dict[str, Any] | None:
        """Return what the store says of itself, None where there is none."""
        try:
            root = json.loads((self.path / ROOT).read_bytes())
        except (OSError, ValueError):
            return None
        return dict(root.get("attributes", {})) if isinstance(root, dict) else None

    @property
    def is_ended(self) -> bool:
        """Whether it tells the end of this run."""
        found = self.attributes() or {}
        return found.get("uuid") == self._uuid and found.get("run_state") != RUNNING

    def frames(self, name: str) -> list[int]:
        """Return the frames that have a chunk in an array, increasing."""
        folder = self.path / name
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(int(one.split(".")[1]) for one in names if one.startswith("c."))

    @property
    def has_invalid(self) -> bool:
        """Whether single frames lack pixels."""
        return bool(self.frames(INVALID))

    def end(self, documents: Mapping[str, bytes], scratch: Path) -> None:
        """Write everything again, as it is known at the end; who reads meanwhile sees no mixture.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        scratch.mkdir(parents=True, exist_ok=True)
        for key, content in documents.items():
            (self.path / key).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path / key, content, scratch)

    def forget(self) -> None:
        """Remove what stands beside the store, such as what is left of one that it has replaced."""
        for beside in self.path.parent.glob(f".{escape(self.path.name)}.{self._uuid}.*"):
            shutil.rmtree(beside, ignore_errors=True)

    def _identity(self) -> int | None:
        """Return what tells one folder at the path from another, None where there is none."""
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None

    def _placed(self, made: Path) -> bool:
        """Put the store in its place; False if there is one."""
        try:
            os.rename(made, self.path)
        except OSError as error:
            if error.errno in TAKEN:
                return False
            raise
        return True

    def _set_aside(self) -> None:
        """Take an older store away, and free its room.

        Whoever comes later finds its folder taken, so that none takes the new store away: it is
        removed when the run ends.
        """
        older = self.scratch("old")
        try:
            os.rename(self.path, older)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in TAKEN:
                return
            raise
        for inside in older.iterdir():
            if inside.is_dir():
                shutil.rmtree(inside, ignore_errors=True)


RUNNING = "running"
"""The state of a run that has not ended."""
