"""What savers have in common: a folder, a prefix, and a look at what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import field_validator

from limadask.errors import ConfigError
from limadask.naming import Names, fill, has_run, next_run
from limadask.storage import absolute_path
from limadask.task import Sink

FOLDER = "a folder that can be made and written"


class FolderSaver(Sink):
    """Saves into a folder, under names that begin alike."""

    folder: str
    """Folder, made if it is not there."""
    prefix: str = "limadask"
    """Begin of the files' names, where fields may stand: ``{sample}_{run:04d}``."""
    file_exists_policy: Any = "abort"
    """When an older run of this prefix is there; each saver says what may be done."""
    vetoed: Literal["skip", "keep"] = "skip"
    """Whether frames that a veto before this node refused are left out, or saved all the same."""

    others: ClassVar[str] = "overwrite"
    """The policies that take what is there, in words."""

    @field_validator("prefix")
    def _plain(cls, value: str) -> str:  # noqa: N805 - pydantic's class method
        if not value or Path(value).name != value:
            raise ConfigError(
                "a prefix is the begin of a file name",
                value=value,
                allowed="a name without folders",
            )
        return value

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute folder."""
        return self.replace(folder=absolute_path(self.folder, folder, "folder"))

    def next_run(self, names: Names) -> int:
        """Return the first number that no run in the folder has, under this prefix."""
        folder = Path(self.folder)
        if not has_run(self.prefix) or not folder.is_dir():
            return 1
        return next_run(self.prefix, names, (path.name for path in folder.iterdir()))

    def named(self, names: Names) -> Self:
        """Return the same task with all fields in its prefix filled in."""
        return self.replace(prefix=fill(self.prefix, names))

    @property
    def skips_vetoed(self) -> bool:
        """Whether vetoed frames are left out."""
        return self.vetoed == "skip"

    def check(self) -> None:
        """Look whether the folder can be written and no file is in the way."""
        folder = Path(self.folder)
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{existing} is no folder that can be written",
                field="folder",
                value=self.folder,
                allowed=FOLDER,
            )
        taken = self.taken() if self.file_exists_policy == "abort" else None
        if taken is not None:
            raise self.exists(taken)

    def taken(self) -> Path | None:
        """Return a file of an older run that is in the way, if there is one."""
        raise NotImplementedError

    def exists(self, path: Path) -> ConfigError:
        """Return the error that a file is in the way."""
        return ConfigError(
            f"{path} exists",
            field="file_exists_policy",
            value=self.file_exists_policy,
            allowed=f"another folder or prefix, or the policy {self.others}",
        )

    def unwritable(self, error: OSError) -> ConfigError:
        """Return the error that the folder cannot be written."""
        return ConfigError(
            f"cannot be written: {error}", field="folder", value=self.folder, allowed=FOLDER
        )
