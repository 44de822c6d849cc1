"""A program that is asked by lines of JSON, and answers so."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

PATIENCE = 10.0
"""Seconds that it may take to end by itself."""


class Program:
    """A module of ours in a process of its own; it ends with the block.

    Parameters
    ----------
    module:
        Its name, within this package.
    arguments:
        What it is told at first.
    """

    def __init__(self, module: str, **arguments: Any) -> None:
        name = f"{__package__}.{module}"
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", name, json.dumps(arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.greeting = self.line()
        """The line that it says first."""

    def tell(self, **asked: Any) -> None:
        """Ask for something."""
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        print(json.dumps(asked), file=self.process.stdin, flush=True)

    def line(self) -> str:
        """Return the next line that it says; RuntimeError when it has ended."""
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait(PATIENCE)}")
        return line.rstrip("\n")

    def answer(self) -> dict[str, Any]:
        """Return what it answers."""
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def close(self) -> None:
        """Let it end, or end it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
