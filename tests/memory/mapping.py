"""Maps files on a disk that is too small; its argument is the disk. It prints what happened."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from disk import fill

from limadask.errors import ConfigError
from limadask.memory import BufferPool, Fallback, MappedAllocator

SIZE = 1 << 20


def refusal(work: Callable[[], object]) -> str:
    try:
        work()
    except ConfigError as error:
        return str(error)
    return ""


def main() -> None:
    folder = sys.argv[1]
    kind = MappedAllocator(folder=folder)
    told: dict[str, object] = {"too many": refusal(lambda: Fallback(kind, 5, SIZE))}
    pool = BufferPool(1, SIZE, Fallback(kind, 1, SIZE))  # of the 2 MiB there are
    taken = pool.lend((SIZE,), np.uint8)
    assert taken is not None
    filler = fill(Path(folder))
    taken[:] = 3  # its room was taken before
    told["sum"] = int(taken.sum())
    told["full"] = refusal(lambda: kind.allocate(SIZE))
    told["left"] = os.listdir(folder)
    filler.unlink()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
