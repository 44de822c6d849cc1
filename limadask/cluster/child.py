"""Programs of Dask in processes of their own, which start at once.

They are forked by a server that has imported, once, what they all need: that takes a processor two
seconds, and a cluster of three workers otherwise eight.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import dask
from distributed.utils import get_mp_context

from limadask.registry import DETECTORS, TASKS

PROGRAMS = ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker")


class Child:
    """A running program that can be told to end, killed and waited for.

    Parameters
    ----------
    module:
        The program, as for ``python -m``.
    arguments:
        Its arguments.
    variables:
        Its whole environment.
    folder:
        Where it works.
    """

    def __init__(
        self, module: str, *arguments: str, variables: Mapping[str, str], folder: Path
    ) -> None:
        given = (module, arguments, dict(variables), str(folder))
        self._process = server().Process(target=_run, args=given, name=module)
        self._process.start()

    @property
    def pid(self) -> int:
        """The number of its process."""
        number = self._process.pid
        assert number is not None  # noqa: S101 - it was started
        return number

    def send_signal(self, sign: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sign)

    def kill(self) -> None:
        """End it without letting it know."""
        self._process.kill()

    def poll(self) -> int | None:
        """Return how it ended, minus the signal's number if by one; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return how.

        Raises
        ------
        TimeoutError
            When it runs on.
        """
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise TimeoutError(f"{self._process.name} has not ended within {timeout} s")
        return status


@cache
def server() -> multiprocessing.context.ForkServerContext:
    """Return what forks; it is told once what to import."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        context: multiprocessing.context.ForkServerContext = get_mp_context()
    found = {one.module for group in (TASKS, DETECTORS) for one in entry_points(group=group)}
    context.set_forkserver_preload([*PROGRAMS, "limadask", *sorted(found)])
    return context


def _run(module: str, arguments: tuple[str, ...], variables: dict[str, str], folder: str) -> None:
    """Become the program: nothing of this process may shine through."""
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    dask.config.refresh()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
