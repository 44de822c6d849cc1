"""Make a file readable whose writer died."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from numcodecs.jenkins import jenkins_lookup3

_FLAGS = 11
"""Place of the superblock's flags that tell of a writer, in versions 2 and 3."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recover(path: str | Path | int) -> bool:
    """Clear the marks of a writer from an HDF5 file, once that writer is known to be dead.

    Sets the "open for writing" flags of the superblock to zero and its end-of-file address to the
    file's size, which SWMR flushes leave behind (HDF5 file format 3.0, superblock versions 2
    and 3). Everything that had been flushed can be read then. A file without marks is only read.

    Parameters
    ----------
    path:
        The file, or a descriptor of it that can be read and written.

    Returns
    -------
    bool
        Whether there was anything to clear.

    Raises
    ------
    OSError
        When the file is no HDF5 file, or its superblock is damaged.
    """
    closes = not isinstance(path, int)
    with open(path, "rb", closefd=closes) as file:
        file.seek(0)
        block = bytearray(file.read(48))
        if len(block) < 48 or block[:8] != _SIGNATURE:
            raise OSError(f"{path} is no HDF5 file")
        if not _is_marked(block):
            return False
        if jenkins_lookup3(bytes(block[:44])) != struct.unpack_from("<I", block, 44)[0]:
            raise OSError(f"the superblock of {path} is damaged")
    block[_FLAGS] = 0
    with open(path, "r+b", closefd=closes) as file:
        struct.pack_into("<Q", block, 28, os.fstat(file.fileno()).st_size)
        struct.pack_into("<I", block, 44, jenkins_lookup3(bytes(block[:44])))
        file.seek(0)
        file.write(block)
    return True


def is_marked(path: Path) -> bool:
    """Tell whether an HDF5 file says that somebody is writing it."""
    with open(path, "rb") as file:
        return _is_marked(file.read(_FLAGS + 1))


def _is_marked(block: bytes | bytearray) -> bool:
    """Tell it from the begin of the superblock; older versions know no flags."""
    return len(block) > _FLAGS and block[8] in (2, 3) and block[_FLAGS] != 0
