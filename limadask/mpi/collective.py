"""A function called on all ranks of a world, and another world where one has died."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import cloudpickle
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Spec, unlabelled
from limadask.mpi.memory import Bytes, Memory, packed, unpacked
from limadask.mpi.messages import Work
from limadask.mpi.world import ENDING, World, WorldEnded, WorldError
from limadask.task import Products
from limadask.task.products import sizes_of

SLACK = 1 << 20
"""Bytes of room for what comes with a result."""
COMMUNICATORS = 500
"""Blocks for which the function may raise in one world: each costs a communicator, and MPICH has
2000."""
WIDER = 8
"""How much larger a result may be than planned until it is refused unseen."""


class Collective:
    """What a block is called with; blocks enter one at a time, other threads wait.

    Parameters
    ----------
    function:
        Called as ``function(comm, block, **fields)`` on every rank.
    fields:
        Its other arguments.
    spec, planned:
        What comes in, and what comes out.
    launcher:
        The command that starts a world.
    ranks:
        Processes of the world.
    timeout, start_timeout:
        Seconds that a block, and a start, may take.
    restarts:
        How often another world is started.

    Raises
    ------
    ConfigError
        When there is no world to begin with.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        fields: Mapping[str, Any],
        spec: Spec,
        planned: Spec | Products,
        *,
        launcher: Sequence[str],
        ranks: int,
        timeout: float,
        start_timeout: float,
        restarts: int,
    ) -> None:
        self._payload = np.frombuffer(cloudpickle.dumps((function, dict(fields), spec)), np.uint8)
        self._masked, self._frame_nbytes = spec.masked, _nbytes(planned)
        self._launcher, self._ranks = launcher, ranks
        self._timeout, self._start_timeout = timeout, start_timeout
        self._restarts = self._left = restarts
        self._memory, self._room = Memory(SLACK), Memory(SLACK)
        self._lock, self._is_over, self._why = threading.Lock(), False, ""
        self._is_afresh, self._nb_failed = False, 0
        try:
            self._world: World | None = self._started()
        except WorldEnded as error:
            raise ConfigError(
                f"the MPI world does not start: {error}",
                field="launcher",
                value=" ".join(launcher),
                allowed="what starts programs with the MPI that mpi4py was made for",
            ) from error

    def __call__(self, block: xr.DataArray) -> xr.DataArray | xr.Dataset:
        """Return what rank 0 has returned for a block.

        Raises
        ------
        WorldError
            When the function raises, a rank dies, or time or the restarts are used up.
        """
        with self._lock:
            world = self._living()
            try:
                answer = world.run(self._announced(block), self._timeout)
            except WorldEnded as error:
                self._lose(str(error))
                raise
            except WorldError:
                self._is_afresh, self._nb_failed = True, self._nb_failed + 1
                raise
            self._is_afresh = False
            found = unpacked(answer.body, answer.spans or [], self._room.bytes, copy=True)
            returned: xr.DataArray | xr.Dataset = found.labelled()
            return returned

    def close(self) -> None:
        """End the world; a block that is in it is lost."""
        self._is_over = True
        if not (is_mine := self._lock.acquire(timeout=ENDING)):
            if (world := self._world) is not None:
                world.stop()  # who waits for it goes on, and gives the lock back
            is_mine = self._lock.acquire(timeout=ENDING)
        try:
            if self._world is not None:
                self._world.end()
                self._world = None
        finally:
            if is_mine:
                self._lock.release()

    def _living(self) -> World:
        """Return a world that lives, another one if need be."""
        if self._is_over:
            raise WorldError("the run is over: its MPI world has ended")
        if self._world is not None and not self._world.is_alive:
            self._lose("a rank has died between two blocks")
        if self._world is not None and self._nb_failed < COMMUNICATORS:
            return self._world
        if self._world is not None:
            self._world.end()
            self._world = None
        elif not self._left:
            raise WorldError(
                f"the MPI world has ended {self._restarts + 1} times, the last time because "
                f"{self._why}: restarts={self._restarts} are used up, this node processes no more "
                "frames on this worker"
            )
        else:
            self._left -= 1
        try:
            self._world = self._started()
        except WorldEnded as error:
            self._why = f"it did not start again: {error}"
            raise WorldEnded(f"the MPI world does not start again: {error}") from error
        return self._world

    def _lose(self, why: str) -> None:
        world, self._world, self._why = self._world, None, why
        if world is not None:
            world.kill()

    def _started(self) -> World:
        self._is_afresh, self._nb_failed = False, 0
        work = self._work(self._payload)
        return World(self._launcher, self._ranks, work, self._start_timeout)

    def _announced(self, block: xr.DataArray) -> bytes:
        """Put a block into the memory; return what tells the ranks of it."""
        frames = unlabelled(block)
        count = len(frames)
        self._room = _at_least(self._room, WIDER * self._frame_nbytes * count + SLACK)
        frames = frames.carrying(np.ascontiguousarray(frames.pixels))
        return self._work((frames, self._mask_of(block)))

    def _mask_of(self, block: xr.DataArray) -> NDArray[np.bool_] | None:
        """Return what is masked in a block, None where it is what was planned."""
        if "masked" not in block.coords:
            return None
        masked = np.asarray(block.coords["masked"].values, bool)
        is_known = masked is self._masked or np.array_equal(masked, _or_nothing(self._masked))
        return None if is_known else np.ascontiguousarray(masked)

    def _work(self, value: Any) -> bytes:
        body, spans = packed(value, self._given)
        return pickle.dumps(
            Work(body, spans, self._memory.segment, self._room.segment, self._is_afresh)
        )

    def _given(self, nbytes: int) -> Bytes:
        self._memory = _at_least(self._memory, nbytes)
        return self._memory.bytes


def _at_least(memory: Memory, nbytes: int) -> Memory:
    return memory if memory.segment.nbytes >= nbytes else Memory(nbytes)


def _or_nothing(masked: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return np.zeros(0, bool) if masked is None else masked


def _nbytes(planned: Spec | Products) -> int:
    """Return the bytes of what comes out for each frame."""
    if isinstance(planned, Spec):
        return planned.frame_nbytes
    sizes = sizes_of(planned)
    return sum(
        one.dtype.itemsize * prod(sizes.get(dim, 1) for dim in one.dims)
        for one in planned.variables.values()
    )
