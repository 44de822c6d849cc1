"""The contract of a sink: a task at the end of a branch, that keeps what reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Mosaic
from limadask.ledger import Ledger
from limadask.naming import Names
from limadask.task.contract import Task
from limadask.timeseries import TimeSeries

Given = Any
"""What a sink gets: a :class:`~limadask.frames.Spec`; :class:`~limadask.task.Products` too, where
it says that it takes by-products."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where and for what a sink is opened.

    Parameters
    ----------
    node:
        The sink's node.
    uuid:
        The acquisition.
    rank, ranks:
        Number of this worker among those that process, and how many these are.
    worker:
        Its name.
    about:
        What is known of the run already, as :class:`RunRecord` has it: ``parameters``,
        ``detector`` and ``metadata``; plain data.
    part, mosaic:
        Which part of the frames it gets, and how all parts make the whole; None where it gets full
        frames.
    """

    node: str
    uuid: str = ""
    rank: int = 0
    ranks: int = 1
    worker: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    part: int = 0
    mosaic: Mosaic | None = None


class Writer(Protocol):
    """What a sink opens on each worker that processes; called from several threads.

    One that says ``lasting = True`` can be asked for what it holds for some time after the run.

    One that says by ``codec`` how it compresses gets frames that the detector has compressed so as
    they are, in :attr:`~limadask.frames.Frames.packed`; one that says ``any``, all of them.
    """

    def encode(self, frames: Any) -> Any:
        """Do the parallel part for some frames of a block; must copy what it keeps.

        It gets :class:`~limadask.frames.Frames`, or :class:`~limadask.task.Rows` of by-products.

        What is returned may say by ``nbytes`` how much it holds; None is not written.
        """

    def write(self, encoded: list[Any]) -> Any:
        """Do the serial part for what was encoded; on return its frames are safe.

        What is returned, if anything, must be plain data; it goes with the receipt.
        """

    def close(self) -> dict[str, Any]:
        """End; return what :meth:`Sink.join` is to know of this worker's part."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run at its end, for those who write it down.

    Parameters
    ----------
    uuid:
        The acquisition.
    state:
        ``done``, ``stopped`` or ``failed``.
    nb_frames:
        Frames of the run.
    ledger:
        What became of each.
    parameters:
        ``user``, ``hardware`` and ``software`` set as plain data.
    detector:
        What the detector said of itself, plain data.
    metadata:
        What the user gave.
    started, ended:
        UTC nanoseconds.
    workers, receivers:
        Names of the workers that process, by rank, and of those that receive.
    error:
        What went wrong, empty if nothing did.
    series:
        Values that changed while it went on, by name: the user's, ``detector/…``, ``pipeline/…``.
    statistics:
        Seconds by node, latency and counts of the whole run, plain data.
    waterfall:
        When the last blocks were at which stage; see :attr:`limadask.Following.waterfall`.
    """

    uuid: str
    state: str
    nb_frames: int
    ledger: Ledger
    parameters: dict[str, Any]
    detector: dict[str, Any]
    metadata: dict[str, Any]
    started: int
    ended: int
    workers: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    error: str = ""
    series: Mapping[str, TimeSeries] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    waterfall: xr.Dataset | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """Frames that a dead worker had made safe.

    Parameters
    ----------
    numbers, status:
        Frame numbers, increasing, and the :class:`Status` of each.
    causes:
        Why some are not present, by number.
    """

    numbers: NDArray[np.int64]
    status: NDArray[np.uint8]
    causes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """A sink that is to be opened.

    Parameters
    ----------
    sink:
        The sink.
    spec:
        What it gets.
    place:
        Where and for what.
    """

    sink: Sink
    spec: Given
    place: Place


class Sink(Task):
    """A task that ends a branch: a saver or an observer."""

    joins_parts: ClassVar[bool] = False
    """Whether it can take parts of frames, each opened apart, and make one whole of them."""
    takes_products: ClassVar[bool] = False
    """Whether it can come after a node that yields by-products; what it gets is these, then."""
    needs_contiguous: ClassVar[bool] = False
    """Whether pixels are to come C-contiguous: the copy of a view lies in memory used again."""

    @property
    def may_keep(self) -> bool:
        """Whether its writer would keep pixels until ``write`` rather than copy them.

        Where they stay as they are till then, the writer is told so: its ``keeps`` is set to True.
        """
        return False

    @property
    def skips_vetoed(self) -> bool:
        """Whether vetoed frames are left out."""
        return False

    def next_run(self, names: Names) -> int:
        """Return the first number of a run that is free where it writes; 1 if any is.

        Parameters
        ----------
        names:
            The fields that are known already, see :meth:`named`.
        """
        return 1

    def named(self, names: Names) -> Self:
        """Return the same sink with the fields in the names of its files filled in.

        Called once for each acquisition, before anything else, with the same fields on all workers:
        ``uuid``, ``date``, ``time``, ``run``, and numbers and texts of the metadata.
        """
        return self

    def plan(self, spec: Given) -> None:
        """Find every mistake that can be seen from the spec."""

    def path(self) -> str | None:
        """Return the absolute path of what a user opens afterwards, if anything."""
        return None

    def check_beside(self, other: Sink) -> None:
        """Find what keeps it from writing the same files as a sink before it in the pipeline.

        Called where :meth:`path` is the same for both; those that may share it are opened together.

        Raises
        ------
        ConfigError
            By default always: its files are its own.
        """
        raise ConfigError(
            "writes the same files", field="prefix", value=self.path(),
            allowed="another folder or prefix",
        )  # fmt: skip

    def open(self, spec: Given, place: Place) -> Writer:
        """Open this worker's part.

        Raises
        ------
        ConfigError
            When it cannot be opened.
        """
        raise NotImplementedError

    @classmethod
    def open_together(cls, openings: Sequence[Opening]) -> list[Writer]:
        """Open this worker's parts of several sinks that write the same files, in this order.

        Called on the class of the first, where there is more than one; by default each is opened by
        itself.

        Raises
        ------
        ConfigError
            When they cannot be opened; none is open then.
        """
        return [one.sink.open(one.spec, one.place) for one in openings]

    def recover(self, spec: Given, place: Place, rank: int) -> Recovered | None:
        """Return what the worker of this rank has made safe; None where nothing outlives it."""
        return None

    def join(self, spec: Given, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Make one whole of the workers' parts; called once, after all are closed."""
