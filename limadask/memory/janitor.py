"""Names that would stay behind if this process were killed, and who takes them away then.

Shared memory and spools of ours have no names: they are gone with their last user. What others
make for us, such as MPI, has. A claim says which names these are. Its owner holds a lock on it for
as long as it lives: the kernel gives the lock back, whatever ends the process, so whoever gets it
knows that the owner is dead, in other containers as well, where process numbers tell nothing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)


class Claim:
    """The names that are to be taken away when their owner is done with them, or dead.

    Where no claim can be written, as on a full disk, the owner alone takes them away.

    Parameters
    ----------
    folder:
        Where claims are; None takes this user's, in the folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._names: dict[str, tuple[int, int]] = {}
        self._path, self._descriptor = Path(), -1
        try:
            if folder is None:
                _path_of_folder().mkdir(0o700, exist_ok=True)
            self._path, self._descriptor = _locked_file(folder or _own_folder())
        except OSError as error:
            logger.warning("what a kill would leave behind will stay there: %s", error)

    def add(self, paths: Iterable[str]) -> None:
        """Claim files that this process has made, or let others make; again does no harm."""
        for path in paths:
            with suppress(OSError):
                found = os.lstat(path)
                identity = found.st_dev, found.st_ino
                if self._names.get(path) != identity:
                    self._names[path] = identity
                    line = json.dumps([path, *identity]) + "\n"
                    if self._descriptor >= 0:
                        os.write(self._descriptor, line.encode())

    def clear(self) -> None:
        """Take all of them away, and the claim; for good."""
        for path, identity in self._names.items():
            _remove(path, identity)
        self._names.clear()
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def clean(folder: Path | None = None) -> list[str]:
    """Take away what dead processes of this user have claimed; return what that was.

    Several may do so at once.

    Parameters
    ----------
    folder:
        Where claims are, as for :class:`Claim`.
    """
    removed: list[str] = []
    with suppress(OSError):  # there is none, or it is not ours
        for path in (folder or _own_folder()).iterdir():
            removed += _settled(path)
    if removed:
        logger.info("dead processes had left behind %s", ", ".join(removed))
    return removed


def _settled(path: Path) -> list[str]:
    """Take away what a claim names, if its owner is dead."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # another one was faster
        return []
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(descriptor, path):
            return []
        claimed = [_parsed(line) for line in path.read_text().splitlines()]
        removed = [name for name, identity in filter(None, claimed) if _remove(name, identity)]
        path.unlink(missing_ok=True)
    except OSError:  # its owner lives
        return []
    finally:
        os.close(descriptor)
    return removed


def _parsed(line: str) -> tuple[str, tuple[int, int]] | None:
    """Return a name, and what is to be found there; None if the owner died writing it."""
    with suppress(ValueError, TypeError):
        path, device, number = json.loads(line)
        return str(path), (int(device), int(number))
    return None


def _remove(path: str, identity: tuple[int, int]) -> bool:
    """Remove a file, if it is still the same one, and this user's."""
    with suppress(OSError):
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == identity and found.st_uid == os.getuid():
            os.unlink(path)
            return True
    return False


def _locked_file(folder: Path) -> tuple[Path, int]:
    """Make a claim and lock it; a janitor may take it away in between, as it looks dead."""
    began = int(psutil.Process().create_time())
    while True:
        path = folder / f"{os.getpid()}-{began}-{secrets.token_hex(4)}"  # for people to read
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return path, descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether a path still leads to what is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _own_folder() -> Path:
    """Return the folder of this user's claims.

    Raises
    ------
    OSError
        When there is none, or another user has made it.
    """
    folder = _path_of_folder()
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not this user's")
    return folder


def _path_of_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"limadask-claims-{os.getuid()}"
