"""A function that runs collectively over the ranks of an MPI world, as a task."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, ClassVar

import xarray as xr
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from limadask.errors import ConfigError
from limadask.frames import Spec, spec_of
from limadask.mpi.collective import Collective
from limadask.task import Products, Task
from limadask.task.function import made
from limadask.task.outcome import Promise, kept, promised

FOLDER = os.path.dirname(sys.executable)
"""Where the programs of this Python's own packages are, such as the launcher of ``mpich``."""


class MpiTask(Task):
    """Base of the tasks that :func:`mpi_task` makes."""

    function: ClassVar[Callable[..., Any]]
    promise: ClassVar[Promise]

    ranks: PositiveInt = 2
    """Processes of the world that each worker has."""
    launcher: str = "mpiexec -n {ranks}"
    """The command that starts a program as a world, on the worker's own computer."""
    timeout: PositiveFloat = 20.0
    """Seconds that a block may take, until its world is taken for dead."""
    start_timeout: PositiveFloat = 60.0
    """Seconds that a world may take to start."""
    restarts: NonNegativeInt = 3
    """How often, in a run, a worker starts another world where one has died."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What the function gets, by name."""
        return {name: value for name, value in self if name not in MpiTask.model_fields}

    def plan(self, spec: Spec) -> Spec | Products:
        """Predict what comes out."""
        return promised(self.promise, spec, self.parameters, self.task_name())

    def check(self) -> None:
        """Look whether there is MPI."""
        if find_spec("mpi4py") is None:
            raise ConfigError("MPI needs the extra 'mpi': pip install 'limadask[mpi]'")
        self._command()

    def setup(self, spec: Spec, *others: Spec) -> Collective:
        """Start the worker's world."""
        self.check()
        return Collective(
            type(self).function,
            self.parameters,
            spec,
            self.plan(spec),
            launcher=self._command(),
            ranks=self.ranks,
            timeout=self.timeout,
            start_timeout=self.start_timeout,
            restarts=self.restarts,
        )

    def __call__(self, block: xr.DataArray) -> xr.DataArray | xr.Dataset:
        """Call the function with one block, in a world of its own."""
        collective = self.setup(spec_of(block))
        try:
            return collective(block)
        finally:
            collective.close()

    def _command(self) -> list[str]:
        """Return the launcher's command, the program's path absolute."""
        try:
            program, *options = shlex.split(self.launcher.format(ranks=self.ranks))
        except (ValueError, LookupError) as error:
            raise ConfigError(
                f"this is no command: {error}",
                field="launcher",
                value=self.launcher,
                allowed="a command, in which {ranks} becomes their number",
            ) from error
        path = os.pathsep.join([FOLDER, os.environ.get("PATH", os.defpath)])
        if (found := shutil.which(program, path=path)) is None:
            raise ConfigError(
                f"no program {program!r} here",
                field="launcher",
                value=self.launcher,
                allowed="a command that this worker finds, such as the mpiexec of `pip install "
                "mpich`, or srun",
            )
        return [found, *options]


def mpi_task(*, plan: Promise) -> Callable[[Callable[..., Any]], type[MpiTask]]:
    """Make a task of a function that all ranks of an MPI world enter together.

    The function gets a communicator of mpi4py and a block, dims ``(frame, band, y, x)``, the same
    one on every rank; its other arguments are the task's fields, besides those of
    :class:`MpiTask`. What rank 0 returns is the result.

    Parameters
    ----------
    plan:
        What comes out, since it cannot be tried without a world: as in
        :func:`~limadask.native_task`.

    Raises
    ------
    ConfigError
        When an argument has the name of a field of :class:`MpiTask`.

    Examples
    --------
    >>> @mpi_task(plan={"total": "f8"})
    ... def total(comm: Any, block: xr.DataArray, scale: float = 1.0) -> Any:
    ...     mine = block[:, :, comm.rank :: comm.size].sum(("y", "x"), dtype="f8")
    ...     return {"total": comm.allreduce(mine) * scale}
    >>> total(ranks=4).launcher
    'mpiexec -n {ranks}'
    """

    def decorated(function: Callable[..., Any]) -> type[MpiTask]:
        task = made(function, MpiTask, skipped=2)
        task.promise = kept(plan)
        return task

    return decorated
