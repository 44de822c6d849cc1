"""The command line as its users call it: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Limadask = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def limadask() -> Limadask:
    """Run a command; return what it printed and its exit status."""

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "limadask", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=170)

    return call
