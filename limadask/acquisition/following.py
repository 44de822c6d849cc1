"""An acquisition that is prepared, seen from anywhere: by who prepared it, or who attached."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import xarray as xr
from distributed import Client

from limadask.acquisition import waiting
from limadask.acquisition.futures import BlockFutures
from limadask.acquisition.happening import Events
from limadask.acquisition.recorded import RecordedSeries
from limadask.acquisition.results import Observations, Products
from limadask.acquisition.run_resources import RunResources
from limadask.cluster.link import Link
from limadask.engine.messages import Ready, loads
from limadask.errors import (
    AcquisitionFailed,
    ConfigError,
    FallbackWarning,
    StalledError,
    StateError,
)
from limadask.ledger import Ledger
from limadask.monitoring.waterfall import waterfall
from limadask.parameters import ParameterSets
from limadask.pipeline.hold import FUTURES
from limadask.timeseries import checked_name, checked_value

STALL_TIMEOUT = 30.0
"""Seconds without any progress, besides three frame periods, after which a run fails."""


class Following:
    """A run that exists: its state, its results, and what one may ask of it.

    Made by :func:`attach`.

    Parameters
    ----------
    uuid:
        Its name.
    link:
        The way to its coordinator; None while nothing is prepared.
    stall_timeout:
        Seconds without any progress, besides three frame periods, after which ``wait`` gives up.
    """

    def __init__(self, uuid: str, link: Link | None, stall_timeout: float = STALL_TIMEOUT) -> None:
        self.uuid = uuid
        self._link, self._stall_timeout = link, stall_timeout
        self._ready: Ready | None = None
        self._processors: list[str] = []
        self._sets: ParameterSets | None = None
        self._products: Mapping[str, xr.Dataset] = {}

    # ---- commands -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the exposures."""
        self._command("start")

    def trigger(self) -> None:
        """Give a software trigger."""
        self._command("trigger")

    def pause(self) -> None:
        """Let no exposure begin until ``resume``; what has been exposed is taken and processed.

        Raises
        ------
        StateError
            When the detector goes on by itself and cannot be paused, or acquires nothing. Where it
            is triggered by software it always can.
        """
        self._command("pause")

    def resume(self) -> None:
        """Let exposures go on."""
        self._command("resume")

    def stop(self) -> None:
        """End after the frame being exposed; what has come is processed and saved."""
        self._command("stop")

    def process(self) -> None:
        """Process the frames of a deferred run that are held; nothing is done where none are."""
        self._command("process")

    def abort(self) -> None:
        """End at once; what is not being processed is dropped, files are closed."""
        self._command("abort")

    def note(self, name: str, value: float | str, units: str = "") -> None:
        """Record a value of this moment: a number, or a text such as a comment.

        Values of one name make a series, saved as those of sources are. At most 256 names can be
        noted, and 1000 texts of a name; of numbers 8192 are kept, and else thinned.

        Parameters
        ----------
        name:
            Name of the series: letters, digits and ``_``.
        value:
            The number, or a text of at most 1000 characters.
        units:
            Units of the numbers, as NeXus has them.

        Raises
        ------
        ConfigError
            When it can be no name or no value, or the series is a source's or of another kind.
        StateError
            When the run is not prepared yet, or is over.
        LimadaskError
            When there is no room for more.
        """
        note = (checked_name(name), time.time_ns(), checked_value(value, name), units)
        if self._link is None:
            raise StateError("nothing can be noted while nothing is prepared; allowed: prepare")
        if self._link.ask("record", uuid=self.uuid, note=note)["is_over"]:
            raise StateError(f"nothing can be noted: acquisition {self.uuid} is over")

    def wait(
        self,
        until: Literal["acquired", "processed"] = "processed",
        timeout: float | None = None,
        told: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """Wait for the last exposure (``acquired``) or the last file (``processed``).

        Parameters
        ----------
        until:
            What to wait for.
        timeout:
            Seconds; without it, waiting ends when nothing has moved for the stall timeout.
        told:
            Called, in this thread, with the statistics whenever they are looked at.

        Raises
        ------
        AcquisitionFailed
            When the run ended outside its policy.
        StalledError
            When it takes too long; it names the stage that does not move.
        """
        waiting.check(until)
        if self._link is None:
            raise StateError("there is nothing to wait for: the acquisition is not prepared")

        def look() -> list[dict[str, Any]]:
            status = self._status()
            if told is not None:
                told(status)
            self._raise_failure(status)
            return [status]

        waiting.wait(self._link, [self.uuid], until, timeout, look, lambda: self.patience)

    # ---- what is known ------------------------------------------------------------------------

    @property
    def state(self) -> tuple[str, str]:
        """State of the detector side and of the processing side."""
        if self._link is None:
            return ("idle", "idle")
        detector, processing = self._status()["state"]
        return detector, processing

    def notes(self, node: str) -> list[tuple[str, Any]]:
        """Return what a sink has noted of the blocks that it got, such as frames that it dropped.

        Each is the name of a worker and what its sink said, plain data.
        """
        if self._link is None:
            return []
        return list(map(tuple, self._link.ask("notes", uuid=self.uuid, node=node, start=0)))

    @property
    def parameters(self) -> ParameterSets:
        """User, hardware and software parameters; the last two once prepared."""
        self._know()
        if self._sets is None:
            raise StateError("the parameters are known when the acquisition is prepared")
        return self._sets

    @property
    def ledger(self) -> xr.Dataset:
        """Status, cause, receiver and timestamp of every frame so far, dim ``frame``."""
        return self.record().to_dataset()

    def record(self) -> Ledger:
        """Return the ledger itself: runs of frames of one fate, and their counts."""
        return Ledger.load(self._connected().ask("ledger", uuid=self.uuid))

    @property
    def files(self) -> dict[str, str]:
        """Path of the master file of every saver, by node; complete when processed."""
        ready = self._know()
        return dict(ready.files) if ready else {}

    @property
    def data(self) -> Mapping[str, xr.Dataset]:
        """By-products of every reduction, by node: sorted by frame, growing while it runs."""
        self._know()
        return self._products

    @property
    def series(self) -> Mapping[str, xr.Dataset]:
        """Values recorded so far, by name: ``value`` with dim ``time``, UTC, growing while it runs.

        Names are those of the user's metadata and notes, ``detector/…`` for what the detector tells
        of itself, and ``pipeline/…`` for the run itself.
        """
        return RecordedSeries(self._connected(), self.uuid)

    @property
    def waterfall(self) -> xr.Dataset:
        """When each of the last 2000 blocks was at which stage, dims ``block`` and ``stage``.

        See :func:`limadask.monitoring.waterfall.waterfall`, and :func:`limadask.plot_waterfall`.
        """
        return waterfall(self._connected().ask("waterfall", uuid=self.uuid))

    @property
    def observe(self) -> Observations:
        """Observation points, by node."""
        ready = self._know()
        points = list(ready.observed) if ready else []
        return Observations(self._connected(), self.uuid, self._processors, points)

    @property
    def patience(self) -> float:
        """Seconds without any progress after which the run fails."""
        hardware = self._sets.hardware if self._sets is not None else None
        return self._stall_timeout + 3 * (hardware.period if hardware else 0)

    def futures(self, node: str) -> BlockFutures:
        """Return the futures of a node's blocks, where who prepared the run has asked for them.

        Each block goes to one of those who iterate.

        Raises
        ------
        ConfigError
            When the blocks of this node are not kept.
        """
        ready, link = self._know(), self._connected()
        kept = list(ready.held) if ready else []
        if node not in kept:
            raise ConfigError(
                "nobody has asked for futures of this node before it was prepared",
                field="node", value=node, allowed=kept,
            )  # fmt: skip
        futures = BlockFutures(self.uuid, f"{node}{FUTURES}")
        futures.connect(link)
        return futures

    def statistics(self) -> dict[str, Any]:
        """Return counts, times and rates so far, as plain data."""
        return self._status()

    @property
    def resources(self) -> RunResources:
        """What the workers hold for this run now, how full that is, and when it will be full."""
        return RunResources.load(self._status()["resources"])

    def events(self, saved: bool = False) -> Events:
        """Return what happens from now on, for ``for`` and ``async for``; ends with the run.

        Parameters
        ----------
        saved:
            Whether every block is told when its frames are safe (:class:`FramesSaved`).
        """
        events = Events(self._connected(), self.uuid)
        if saved:
            self._command("tell_saved")
        return events

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uuid[:8]} {'/'.join(self.state)}>"

    def _repr_html_(self) -> str:
        from limadask.views import acquisition_html

        return acquisition_html(self)

    # ---- details ------------------------------------------------------------------------------

    def _command(self, command: str) -> None:
        if self._link is None:
            raise StateError(
                f"{command!r} is not allowed while nothing is prepared; allowed: prepare"
            )
        answer = self._link.command("command", uuid=self.uuid, command=command)
        self._raise_failure(answer["status"], answer["pickled"])

    def _know(self) -> Ready | None:
        """Learn what was prepared, once it is; None before."""
        if self._ready is not None or self._link is None:
            return self._ready
        link = self._link
        answer = link.ask("ready", uuid=self.uuid)
        if not answer["ready"]:
            return None
        ready: Ready = loads(answer["ready"])
        self._processors = answer["processors"]
        names, settings = answer["names"], answer["settings"]
        software = ready.software.told_by(names["receivers"], names["processors"], settings)
        self._ready = ready
        self._sets = ParameterSets(user=ready.user, hardware=ready.hardware, software=software)
        self._products = Products.of(link, self.uuid, ready.outputs, self._processors)
        for worker, told in settings.items():
            for text in told.get("warnings", ()):
                warnings.warn(f"worker {worker}: {text}", FallbackWarning, stacklevel=3)
        return ready

    def _connected(self) -> Link:
        if self._link is None:
            raise StateError("nothing is prepared yet; allowed: prepare")
        return self._link

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._connected().ask("status", uuid=self.uuid)["status"]
        return status

    def _raise_failure(self, status: dict[str, Any], pickled: bytes = b"") -> None:
        if not status["error"]:
            return
        self._wait_over()
        pickled = pickled or self._connected().ask("status", uuid=self.uuid)["pickled"]
        error = loads(pickled) if pickled else None
        if isinstance(error, ConfigError | StalledError):
            raise error
        raise AcquisitionFailed(status["error"]) from error

    def _wait_over(self) -> None:
        waiting.until_over(self._connected(), [self.uuid], lambda: [self._status()])


def attach(client: Client, uuid: str, stall_timeout: float | None = None) -> Following:
    """Follow an acquisition that another client, or another notebook, has prepared.

    Parameters
    ----------
    client:
        Client of the same cluster.
    uuid:
        The acquisition's name; ``acquisition.uuid``.
    stall_timeout:
        Seconds without any progress, besides three frame periods, after which ``wait`` gives up;
        None: as many as the run itself allows.

    Raises
    ------
    LimadaskError
        When the scheduler knows no such acquisition; it names those it knows.
    """
    link = Link.of(client)
    status = Following(uuid, link).statistics()  # it is an error here, not later, if there is none
    if stall_timeout is None:
        stall_timeout = status["stall_timeout"]
    return Following(uuid, link, stall_timeout)
