"""An acquisition as its user sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import xarray as xr
from distributed import Client

from limadask.acquisition.futures import BlockFutures
from limadask.acquisition.happening import Events
from limadask.acquisition.results import Observations, Products
from limadask.cluster.link import Link, Listener
from limadask.configuration import Configuration
from limadask.detector import Detector
from limadask.engine.messages import Ready, Request, dumps, loads
from limadask.errors import AcquisitionFailed, ConfigError, StalledError, StateError
from limadask.ledger import Ledger
from limadask.parameters import (
    AcquisitionParameters,
    Buffers,
    ParameterSets,
    Policy,
    Topology,
)
from limadask.pipeline import INPUT, Node, Pipeline
from limadask.pipeline.hold import Hold, WhenSlow
from limadask.task import Sink

STALL_TIMEOUT = 30.0
"""Seconds without any progress, besides three frame periods, after which ``wait`` gives up."""
_ENDED = {
    "acquired": ("detector", {"acquired", "aborted", "failed"}),
    "processed": ("processing", {"processed", "aborted", "failed"}),
}


class Acquisition:
    """One run: prepared once, started once, known by its uuid.

    Leaving it as a context before its end aborts it, closes the files and keeps the ledger.

    Parameters
    ----------
    client:
        Client of any Dask cluster.
    detector:
        The detector; what it is set to when ``prepare`` is called counts.
    pipeline:
        What is done with the frames.
    topology:
        Which workers do what.
    policy:
        What is tolerated.
    buffers:
        Memory for frames that wait.
    metadata:
        Anything worth knowing later; saved with the frames.
    stall_timeout:
        Seconds without any progress after which ``wait`` gives up.
    fuse:
        Whether all nodes of a block are one Dask task; False shows every node on the dashboard,
        slowly.
    parameters:
        Fields of :class:`~limadask.AcquisitionParameters`: ``nb_frames``, ``expo_time``, …

    Raises
    ------
    ConfigError
        When a parameter is not what it may be.
    """

    def __init__(
        self,
        client: Client,
        detector: Detector,
        pipeline: Pipeline | None = None,
        *,
        topology: Topology | None = None,
        policy: Policy | None = None,
        buffers: Buffers | None = None,
        metadata: Mapping[str, Any] | None = None,
        stall_timeout: float = STALL_TIMEOUT,
        fuse: bool = True,
        **parameters: Any,
    ) -> None:
        self.uuid = uuid4().hex
        self._client, self._detector = client, detector.absolute(Path.cwd())
        self._pipeline = pipeline or Pipeline()
        self._topology, self._policy = topology or Topology(), policy or Policy()
        self._buffers, self._metadata = buffers or Buffers(), dict(metadata or {})
        self._stall_timeout = stall_timeout
        self._asked = AcquisitionParameters(**parameters)
        self._link: Link | None = None
        self._listener: Listener | None = None
        self._ready: Ready | None = None
        self._processors: list[str] = []
        self._sets = ParameterSets(user=self._asked)
        self._products: Mapping[str, xr.Dataset] = {}
        self._fuse = fuse
        self._held: dict[str, tuple[Node, BlockFutures]] = {}

    @classmethod
    def of(cls, client: Client, configuration: Configuration) -> Self:
        """Make the acquisition that a configuration describes."""
        return cls(
            client,
            configuration.detector,
            configuration.pipeline,
            topology=configuration.topology,
            policy=configuration.policy,
            buffers=configuration.buffers,
            metadata=configuration.metadata,
            **dict(configuration.acquisition),
        )

    # ---- commands -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Configure the detector, plan the pipeline, open the files.

        Raises
        ------
        ConfigError
            When something asked for cannot be done; it names node, field, value and what may be.
        AcquisitionFailed
            When something else goes wrong.
        """
        if self._link is None:
            self._create()
        try:
            self._command("prepare")
        finally:
            self._fetch_ready()

    def start(self) -> None:
        """Start the exposures."""
        self._command("start")

    def trigger(self) -> None:
        """Give a software trigger."""
        self._command("trigger")

    def stop(self) -> None:
        """End after the frame being exposed; what has come is processed and saved."""
        self._command("stop")

    def abort(self) -> None:
        """End at once; what is not being processed is dropped, files are closed."""
        self._command("abort")

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
        if until not in _ENDED:
            raise ConfigError(
                "nothing to wait for", field="until", value=until, allowed=list(_ENDED)
            )
        if self._link is None:
            raise StateError("there is nothing to wait for: the acquisition is not prepared")
        listener = self._link.listen(self.uuid)
        began = moved = time.monotonic()
        last: Any = None
        while True:
            status = self._status()
            if told is not None:
                told(status)
            self._raise_failure(status)
            side, ends = _ENDED[until]
            if status["state"][0 if side == "detector" else 1] in ends:
                return
            now = time.monotonic()
            progress = [status[name] for name in ("state", "received", "processed", "tickets")]
            if progress != last:
                last, moved = progress, now
            if timeout is not None and now - began > timeout:
                raise self._stalled(status, f"not {until} within {timeout} s")
            if timeout is None and now - moved > self._patience():
                raise self._stalled(status, f"nothing has moved for {now - moved:.0f} s")
            listener.get(timeout=0.2)

    # ---- what is known ------------------------------------------------------------------------

    @property
    def state(self) -> tuple[str, str]:
        """State of the detector side and of the processing side."""
        if self._link is None:
            return ("idle", "idle")
        detector, processing = self._status()["state"]
        return detector, processing

    @property
    def parameters(self) -> ParameterSets:
        """User, hardware and software parameters; the last two once prepared."""
        return self._sets

    @property
    def ledger(self) -> xr.Dataset:
        """Status, cause, receiver and timestamp of every frame so far, dim ``frame``."""
        return self.record().to_dataset()

    def record(self) -> Ledger:
        """Return the ledger itself: runs of frames of one fate, and their counts."""
        if self._link is None:
            return Ledger(self._asked.nb_frames or None)
        return Ledger.load(self._link.ask("ledger", uuid=self.uuid))

    @property
    def files(self) -> dict[str, str]:
        """Path of the master file of every saver, by node; complete when processed."""
        return dict(self._ready.files) if self._ready else {}

    @property
    def data(self) -> Mapping[str, xr.Dataset]:
        """By-products of every reduction, by node: sorted by frame, growing while it runs."""
        return self._products

    @property
    def observe(self) -> Observations:
        """Observation points, by node."""
        points = [
            node.name
            for node in self._pipeline
            if isinstance(node.task, Sink) and node.task.path() is None
        ]
        return Observations(self._connected(), self.uuid, self._processors, points)

    def futures(
        self, node: str, max_held: int = 8, when_slow: WhenSlow = "drop_oldest"
    ) -> BlockFutures:
        """Return the futures of a node's blocks as they come; to be asked for before ``prepare``.

        Parameters
        ----------
        node:
            A node that yields frames, or ``input``.
        max_held:
            Blocks kept for the iteration; copies, never the detector's buffers.
        when_slow:
            What happens when the iteration is slower than that: ``drop_oldest`` block, or let
            processing ``wait``.

        Raises
        ------
        StateError
            When the acquisition is prepared already.
        ConfigError
            When there is no such node.
        """
        if self._link is not None:
            raise StateError("futures are to be asked for before prepare")
        if node != INPUT:
            self._pipeline[node]
        name = f"{node}-futures"
        hold = Hold(max_held=max_held, when_slow=when_slow)
        self._held[name] = Node(name, hold, (node,)), BlockFutures(self.uuid, name)
        return self._held[name][1]

    def statistics(self) -> dict[str, Any]:
        """Return counts, times and rates so far, as plain data."""
        return self._status()

    def events(self) -> Events:
        """Return what happens from now on, for ``for`` and ``async for``; ends with the run."""
        return Events(self._connected(), self.uuid)

    # ---- context ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._link is None or self._status()["is_over"]:
            return
        with suppress(StateError):  # it may be ending by itself
            self._command("abort")
        self._wait_over()

    def __repr__(self) -> str:
        return f"<Acquisition {self.uuid[:8]} {'/'.join(self.state)}>"

    def _repr_html_(self) -> str:
        from limadask.views import acquisition_html

        return acquisition_html(self)

    # ---- details ------------------------------------------------------------------------------

    def _create(self) -> None:
        detector = type(self._detector).model_validate(self._detector.model_copy(deep=True))
        request = Request(
            self.uuid,
            detector,
            Pipeline([*self._pipeline, *(node for node, _ in self._held.values())]),
            self._asked,
            self._policy,
            self._buffers,
            self._metadata,
            keep=tuple(node.after[0] for node, _ in self._held.values()),
            fuse=self._fuse,
        )
        self._link = Link.of(self._client)
        self._listener = self._link.listen(self.uuid)
        options = {
            "receivers": self._topology.receivers,
            "workers": self._topology.workers,
            "shared": self._topology.roles == "shared",
            "max_absent": self._policy.bound,
            "fuse": self._fuse,
            "label": "+".join(["input", *(node.name for node in self._pipeline)]).replace("-", "_"),
        }
        self._link.ask(
            "create",
            uuid=self.uuid,
            request=dumps(request),
            options=options,
            client=self._client.id,
        )

    def _command(self, command: str) -> None:
        if self._link is None:
            raise StateError(
                f"{command!r} is not allowed while nothing is prepared; allowed: prepare"
            )
        answer = self._link.ask("command", uuid=self.uuid, command=command)
        self._raise_failure(answer["status"], answer["pickled"])

    def _fetch_ready(self) -> None:
        link = self._connected()
        answer = link.ask("ready", uuid=self.uuid)
        if not answer["ready"]:
            return
        ready: Ready = loads(answer["ready"])
        self._processors = answer["processors"]
        software = ready.software.replace(
            receivers=tuple(answer["names"]["receivers"]),
            processors=tuple(answer["names"]["processors"]),
        )
        self._ready = ready
        self._sets = ParameterSets(user=self._asked, hardware=ready.hardware, software=software)
        self._products = Products.of(link, self.uuid, ready.outputs)
        for _, futures in self._held.values():
            futures.connect(link)

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
        error = loads(pickled) if pickled else None
        self._wait_over()
        if isinstance(error, ConfigError):
            raise error
        raise AcquisitionFailed(status["error"]) from error

    def _wait_over(self, timeout: float = 60.0) -> None:
        """Wait until files are closed and workers have forgotten the run."""
        deadline = time.monotonic() + timeout
        listener = self._connected().listen(self.uuid)
        while not (status := self._status())["is_over"]:
            if time.monotonic() > deadline:
                raise self._stalled(status, f"the run did not end within {timeout} s")
            listener.get(timeout=0.2)

    def _patience(self) -> float:
        hardware = self._sets.hardware
        return self._stall_timeout + 3 * (hardware.period if hardware else 0)

    def _stalled(self, status: dict[str, Any], what: str) -> StalledError:
        advice = {
            "detector": "check the detector's state and its trigger",
            "processing": "check the tasks and the workers' load on the dashboard",
            "closing": "check the disk",
            "prepare": "check the detector's connection",
        }
        counts = f"{status['received']} frames received, {status['processed']} processed"
        return StalledError(
            status["stage"],
            status["last_frame"],
            f"{what} ({counts}); {advice[status['stage']]}",
        )
