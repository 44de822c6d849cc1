"""Reads shared memory in a process of its own: as a processing worker does.

Its argument is a pickled handle, in hexadecimal. It prints the sum of the pixels, or that they are
gone, and holds its view until a line comes in.
"""

from __future__ import annotations

import pickle
import sys

from limadask.memory import SharedReader


def main() -> None:
    handle = pickle.loads(bytes.fromhex(sys.argv[1]))
    reader = SharedReader()
    reader.open(handle.segment)
    pixels = reader.read(handle)
    print("gone" if pixels is None else int(pixels.sum()), flush=True)
    sys.stdin.readline()
    print("gone" if pixels is None else int(pixels.sum()), flush=True)


if __name__ == "__main__":
    main()
