"""Takes messages of a stream and drops them, in a process of its own.

python -m limadask_benchmarks.save.listener ADDRESS
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import zmq


@contextmanager
def listening() -> Iterator[str]:
    """Yield an address that is listened to, whoever sends from it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
    command = [sys.executable, "-m", __name__, address]
    with subprocess.Popen(command) as process:  # noqa: S603
        try:
            yield address
        finally:
            process.terminate()


def listen(address: str) -> None:
    """Take messages until the process is ended."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.reconnect_ivl = 10
        pull.connect(address)
        while True:
            pull.recv(copy=False)


if __name__ == "__main__":
    listen(sys.argv[1])
