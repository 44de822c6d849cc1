"""Runs the shell commands that a page of the documentation shows."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"
PORT = "8786"
BOUND = 100.0


def commands(page: str, port: int) -> list[list[str]]:
    """Return the last commands of a page, with a port that is free here and no dashboard."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    block = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[-1]
    assert PORT in block
    block = re.sub(r"\bdask (scheduler|worker)\b", r"\g<0> --no-dashboard", block)
    return [shlex.split(line.replace(PORT, str(port))) for line in block.splitlines()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[None]:
    """Run a command, and end it with all that it has started."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def printed(command: Sequence[str], folder: Path) -> str:
    """Run a command to its end."""
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Programs are those beside this Python; Dask's files go where the command runs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "DASK_TEMPORARY_DIRECTORY": "."}
