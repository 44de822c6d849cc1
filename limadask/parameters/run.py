"""Where a run takes place, what it tolerates, and the memory it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

from limadask.errors import ConfigError
from limadask.memory import NamedAllocator
from limadask.model import Model
from limadask.parameters.affinity import Affinity

Dispatch = Literal["single", "round_robin", "dynamic", "broadcast", "partial"]


class Topology(Model):
    """How many workers receive and process."""

    receivers: PositiveInt = 1
    """Workers that receive frames; several need another dispatch than ``single``."""
    workers: PositiveInt = 1
    """Workers that process."""
    roles: Literal["shared", "separate"] = "shared"
    """``shared``: receivers also process; ``separate``: they only receive."""
    dispatch: Dispatch = "single"
    """How frames are dealt to the receivers: all to the one there is (``single``), to each in turn
    (``round_robin``), the next to whoever is free (``dynamic``), all to every one, which takes
    its own in turn and leaves out the others (``broadcast``), or to each its modules' part of
    every frame (``partial``)."""
    affinity: Affinity = Field(default_factory=Affinity)
    """Which cores the threads of these workers may use."""

    @model_validator(mode="after")
    def _one_for_single(self) -> Topology:
        if self.dispatch == "single" and self.receivers > 1:
            raise ConfigError(
                f"{self.receivers} receivers cannot share the frames under dispatch single",
                field="dispatch",
                value=self.dispatch,
                allowed=[one for one in get_args(Dispatch) if one != "single"],
            )
        return self

    @property
    def nb_workers(self) -> int:
        """Dask workers needed."""
        if self.roles == "shared":
            return max(self.receivers, self.workers)
        return self.receivers + self.workers


OnError = Literal["abort", "mark", "retry"]
OnOverrun = Literal["wait", "pause", "drop", "hold", "abort"]


class Every(Model):
    """Which frames are kept while not all can be."""

    every: int = Field(ge=2)
    """Of so many neighbours one is kept."""


class Policy(Model):
    """What happens when frames are missing or a task fails."""

    on_absent: Literal["abort", "mark"] = "mark"
    """At the first absent frame, or when a receiver is lost that has a part of every frame: end the
    run, or note it and go on."""
    on_error: OnError = "mark"
    """When a task raises: end the run, note the frames and go on, or try again first."""
    retries: NonNegativeInt = 2
    """How often ``retry`` tries again before it marks."""
    max_absent: NonNegativeInt | Annotated[float, Field(ge=0, le=1)] | None = None
    """Absent frames after which the run ends: a number, or a fraction of ``nb_frames``."""
    on_overrun: OnOverrun = "wait"
    """When frames come faster than they are processed and memory is full: the receiver waits for
    room, and the detector feels it (``wait``); the detector is paused before that (``pause``);
    frames are left out (``drop``) or held on disk (``hold``); the run ends (``abort``)."""
    drop: Literal["newest", "oldest"] | Every = "newest"
    """Which frames are left out under ``drop``: those that come while there is no room, the oldest
    that no worker has got, or all but each n-th, ``{every: 4}``, from the level ``high`` on."""

    @model_validator(mode="after")
    def _drop_is_asked_for(self) -> Self:
        if self.drop != "newest" and self.on_overrun != "drop":
            raise ConfigError(
                "which frames are dropped counts where some are", field="drop", value=self.drop,
                allowed="on_overrun: drop beside it, or nothing",
            )  # fmt: skip
        return self

    @property
    def bound(self) -> int | float | None:
        """How many frames may be absent: a number, a fraction as a float, None for any."""
        return 0 if self.on_absent == "abort" else self.max_absent


def _allocator(value: Any) -> Any:
    """Return the allocator of a name, or of a mapping with its name as ``type``."""
    from limadask import registry  # it knows detectors, and these know parameters

    if isinstance(value, NamedAllocator) or value == "auto":
        return value
    fields = dict(value) if isinstance(value, Mapping) else {"type": value}
    name = fields.pop("type", None)
    try:
        return registry.allocator(name if isinstance(name, str) else "")(**fields)
    except ConfigError as error:
        if error.field != "type":
            raise
        allowed = ["auto", *error.allowed]
        raise ConfigError(error.message, value=name, allowed=allowed) from error


class Buffers(Model):
    """The memory a receiver holds for frames that wait or are being processed."""

    nbytes: ByteSize | None = None
    """Bound of the pool, such as ``512 MiB``; None takes a quarter of the worker's memory, at
    most 1 GiB. The process must stay below 60 % of the worker's limit, of which it needs 300 MiB
    itself, or more if it has more by then."""
    least_nbytes: ByteSize | None = None
    """What the pool has from the beginning, and always; the rest, up to ``nbytes``, comes and goes
    as it is needed. None takes enough blocks for all threads that process."""
    nb_frames_per_block: PositiveInt | None = None
    """Frames handled as one unit; None chooses some 0.1 s of frames, at most 256 MiB."""
    folder: str | None = None
    """Where frames are held that memory has no room for, in deferred runs and where the policy is
    ``hold``, and where the allocator ``mapped`` has its files, on the worker that receives; None
    takes its own temporary folder. Nothing is left there."""
    allocator: Annotated[str | SerializeAsAny[NamedAllocator], BeforeValidator(_allocator)] = "auto"
    """Where the memory comes from: the name of an allocator, or a mapping with that name as
    ``type`` and its own keys. ``auto``: shared memory where other workers of the computer process,
    plain pages else."""

    def absolute(self, folder: Path) -> Self:
        """Return the same, with a relative path taken from ``folder``."""
        changes: dict[str, Any] = {}
        if self.folder is not None:
            changes["folder"] = str(folder / self.folder)
        if isinstance(self.allocator, NamedAllocator):
            changes["allocator"] = self.allocator.absolute(folder)
        return self.replace(**changes) if changes else self
