"""Folders for frames that memory has no room for."""

from __future__ import annotations

from limadask.memory.system import is_in_memory


def why_no_disk(folder: str) -> list[str]:
    """Return what is wrong with a folder that is itself in memory; nothing of any other."""
    if not is_in_memory(folder):
        return []
    return [
        f"{folder} is in memory: frames that are kept there need as much of it. "
        f"Set buffers.folder to a folder on a disk"
    ]
