"""An acquisition as the user who prepares it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from distributed import Client

from limadask.acquisition.following import STALL_TIMEOUT, Following
from limadask.acquisition.futures import BlockFutures
from limadask.acquisition.streaming import follow
from limadask.cluster.link import Link
from limadask.configuration import Configuration
from limadask.detector import Detector
from limadask.engine.messages import Request, check_polled, dumps
from limadask.errors import ConfigError, StateError
from limadask.ledger import Ledger
from limadask.parameters import (
    AcquisitionParameters,
    Buffers,
    ParameterSets,
    Policy,
    Topology,
)
from limadask.pipeline import INPUT, Node, Pipeline
from limadask.pipeline.hold import FUTURES, Hold, WhenSlow
from limadask.timeseries import sorted_out, units_of

PRIORITIES = 1000
"""Priorities go from minus to plus this."""


class Acquisition(Following):
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
        Anything worth knowing later; saved with the frames. Functions are polled while the run
        goes on (:class:`~limadask.Polled`), queues and asynchronous iterators are followed
        (:class:`~limadask.Streamed`).
    stall_timeout:
        Seconds without any progress, besides three frame periods, after which the run fails.
    fuse:
        Whether all nodes of a block are one Dask task; False shows every node on the dashboard,
        slowly.
    priority:
        Blocks of a higher priority go before those of a lower one, -1000 to 1000; among equals the
        newest acquisition goes first.
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
        priority: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__(uuid4().hex, None, stall_timeout)
        self._client, self._detector = client, detector.absolute(Path.cwd())
        self._pipeline = pipeline or Pipeline()
        self._topology, self._policy = topology or Topology(), policy or Policy()
        self._buffers = (buffers or Buffers()).absolute(Path.cwd())
        self._metadata, self._polled, self._streamed = sorted_out(metadata or {})
        check_polled(self._polled)
        self._asked = AcquisitionParameters(**parameters)
        self._sets = ParameterSets(user=self._asked)
        self._fuse, self._priority = fuse, _priority(priority)
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
            self.create()
        try:
            self._command("prepare")
        finally:
            self._know()

    def create(self, deferred: bool = False) -> None:
        """Make it known to the cluster, where nothing is done yet; ``prepare`` and batches do it.

        Parameters
        ----------
        deferred:
            Whether its frames are held until they are asked for.
        """
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
            topology=self._topology,
            polled=self._polled,
        )
        self._link = Link.of(self._client)
        options = {
            "receivers": self._topology.receivers,
            "workers": self._topology.workers,
            "shared": self._topology.roles == "shared",
            "dispatch": self._topology.dispatch,
            "apart": request.is_apart,
            "max_absent": self._policy.bound,
            "fuse": self._fuse,
            "stall_timeout": self._stall_timeout,
            "on_overrun": self._policy.on_overrun,
            "needs_gpu": self._pipeline.needs_gpu,
            "priority": self._priority,
            "deferred": deferred,
            "sources": units_of(self._polled, self._streamed),
            "polls": bool(self._polled),
            "label": "+".join(["input", *(node.name for node in self._pipeline)]).replace("-", "_"),
        }
        self._link.ask(
            "create",
            uuid=self.uuid,
            request=dumps(request),
            options=options,
            client=self._client.id,
        )
        for _, futures in self._held.values():
            futures.connect(self._link)
        follow(self._link, self.uuid, self._streamed)

    # ---- what is known ------------------------------------------------------------------------

    def belongs_to(self, client: Client) -> bool:
        """Tell whether it is made for a client."""
        return self._client is client

    def record(self) -> Ledger:
        """Return the ledger itself: runs of frames of one fate, and their counts."""
        return super().record() if self._link else Ledger(self._asked.nb_frames or None)

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
        name = f"{node}{FUTURES}"
        hold = Hold(max_held=max_held, when_slow=when_slow)
        self._held[name] = Node(name, hold, (node,)), BlockFutures(self.uuid, name)
        return self._held[name][1]

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


def _priority(value: int) -> int:
    if not isinstance(value, int) or abs(value) > PRIORITIES:
        raise ConfigError(
            "no priority", node="acquisition", field="priority", value=value,
            allowed=f"whole numbers from {-PRIORITIES} to {PRIORITIES}",
        )  # fmt: skip
    return value
