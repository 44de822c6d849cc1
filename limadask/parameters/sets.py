"""The three parameter sets of an acquisition, kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import Field

from limadask.geometry import Grid
from limadask.model import Model
from limadask.parameters.acquisition import AcquisitionParameters, HardwareParameters


class EffectiveNode(Model):
    """One node as it really runs."""

    name: str
    """Its name; joined by ``+`` where several run as one pass."""
    task: str
    """The task's name."""
    parameters: dict[str, Any]
    """The task's parameters, defaults filled in."""
    after: tuple[str, ...]
    """What it takes its frames from."""
    output: str | None = None
    """What it yields, in words; None for a node that ends a branch."""


class SoftwareParameters(Model):
    """What the planned pipeline does."""

    before_input: tuple[EffectiveNode, ...]
    """What is done in software so that ``input`` is what was asked."""
    nodes: tuple[EffectiveNode, ...]
    """The pipeline as it runs."""
    input_grid: Grid
    """Grid of ``input``."""
    input_dtype: str
    """Type of the pixels of ``input``."""
    nb_frames_per_block: int
    """Frames handled as one unit."""
    nb_slots: int
    """Blocks that the receiver's pool can hold."""
    pool_nbytes: int
    """Bytes that pool can have."""
    nb_least_slots: int = 0
    """Blocks that it has room for from the beginning."""
    receivers: tuple[str, ...] = ()
    """Names of the workers that receive."""
    processors: tuple[str, ...] = ()
    """Names of the workers that process."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What was set on the workers for speed; under ``workers``, for each by name, its memory, cores
    and warnings where there is something to say."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of what took part."""

    def told_by(
        self,
        receivers: Iterable[str],
        processors: Iterable[str],
        workers: Mapping[str, Mapping[str, Any]],
    ) -> Self:
        """Return the same, with the workers' names and what was set on each of them."""
        return self.replace(
            receivers=tuple(receivers),
            processors=tuple(processors),
            settings={**self.settings, "workers": dict(workers)},
        )


class ParameterSets(Model):
    """User, hardware and software parameters side by side.

    The last two are None until ``prepare`` has ended.
    """

    user: AcquisitionParameters
    """What was asked."""
    hardware: HardwareParameters | None = None
    """What the detector really took."""
    software: SoftwareParameters | None = None
    """What the pipeline really does."""

    def _repr_html_(self) -> str:
        from limadask.views import parameters_html

        return parameters_html(self)
