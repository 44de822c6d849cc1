"""A virtual environment of its own for an emulator: its pins clash with ours."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "LIMADASK_EMULATORS"
"""The variable of the environment that says where emulators are kept."""
LARGE = "LIMADASK_EMULATORS_LARGE"
"""The variable that says whether those of more than a gigabyte may be made; ``1`` is yes."""
PATIENCE = 150.0
"""Seconds that an installation may take: less than a test may."""


class NotInstalledError(Exception):
    """An emulator cannot be installed here; the message says why."""


def environment(*requirements: str, is_large: bool = False) -> Path:
    """Return the folder of an environment with these packages, made by whoever comes first.

    A large one is taken where it exists, and made only where that is allowed.

    Raises
    ------
    NotInstalledError
        When it cannot be made, as without a network.
    """
    text = "\n".join((sys.version, *requirements))
    folder = _root() / hashlib.sha256(text.encode()).hexdigest()[:16]
    done = folder / "complete"
    with _locked(folder.with_suffix(".lock")):
        if not done.exists():
            if is_large and os.environ.get(LARGE) != "1":
                raise NotInstalledError(f"it is large, and {LARGE} is not 1")
            shutil.rmtree(folder, ignore_errors=True)  # what a run before left half made
            _make(folder, requirements)
            done.write_text(text)
    return folder


def _root() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    root = Path(os.environ.get(FOLDER, cache / "limadask" / "emulators"))
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that goes with the process, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    python = folder / "bin" / "python"
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--no-input", *requirements],
    )
    for command in commands:
        said = " ".join(command)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.CalledProcessError as error:
            raise NotInstalledError(f"{said}: {error.stderr.strip()[-500:]}") from error
        except subprocess.TimeoutExpired as error:
            raise NotInstalledError(f"{said}: not done in {PATIENCE} s") from error
