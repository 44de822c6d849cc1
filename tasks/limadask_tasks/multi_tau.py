"""Correlation of the intensity with itself at later times, for XPCS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator
from pydantic.json_schema import SkipJsonSchema

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.storage import absolute_path, read_image
from limadask.task import Products, Running, State, Stepper, Values, Variable
from limadask_tasks.correlation_kernels import correlate

LAST_IMAGES = "ring", "sums", "there", "position"
"""What of a state is needed for further frames alone."""


class MultiTau(Running):
    """The correlation g₂ of each region at delays that grow by powers of two.

    One result with dims ``(band, region, delay)``, growing while the run goes on::

        g₂(τ) = ⟨I(t)·I(t + τ)⟩ / (⟨I(t)⟩ · ⟨I(t + τ)⟩)

    averaged over the pixels of a region and the times t of which both images are there. Delays up
    to ``channels`` frames are taken from the frames; from there on from the mean of 2, of 4, … of
    them, each as far as ``channels`` such images. The multi-tau scheme of K. Schätzel, Quantum
    Optics 2 (1990) 287, with the symmetric normalisation given there.
    """

    ordered: ClassVar[bool] = True

    path: str | None = None
    """Image of the regions, ``file`` or ``file.h5::/dataset``: 0 is left out, others are numbers of
    regions."""
    array: SkipJsonSchema[NDArray[Any] | None] = Field(default=None, exclude=True, repr=False)
    """The image itself."""
    channels: PositiveInt = 16
    """Delays on each level; an even number."""
    levels: PositiveInt = 8
    """How often the images are averaged two by two."""

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.channels % 2:
            raise ConfigError(
                "half of the delays of a level are those of the level before",
                field="channels",
                value=self.channels,
                allowed="an even number",
            )
        return self

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute path."""
        return self if self.path is None else self.replace(path=absolute_path(self.path, folder))

    def plan(self, spec: Spec) -> Products:
        """Predict the delays."""
        numbers, _, _ = self._regions(spec)
        variables = {
            "g2": Variable(("band", "region", "delay"), np.dtype("f8")),
            "times": Variable(("delay",), np.dtype("i8")),
            "frames": Variable((), np.dtype("i8")),
        }
        coordinates: dict[str, tuple[tuple[str, ...], Any]] = {
            "band": (("band",), list(spec.bands)),
            "region": (("region",), numbers),
            "delay": (("delay",), self._delays()),
        }
        return Products(variables, coordinates, running=self)

    def init(self, spec: Spec) -> State:
        """Return empty rings of images, for each level, and nothing added up."""
        numbers, index, _ = self._regions(spec)
        bands, levels, channels = len(spec.bands), self.levels, self.channels
        shape = levels, channels, bands * len(numbers)
        return {
            "ring": np.zeros((levels, channels, bands * len(index)), np.float32),
            "sums": np.zeros(shape),
            "there": np.zeros((levels, channels), bool),
            "position": np.zeros(levels, np.int64),
            "next": np.zeros((), np.int64),
            "products": np.zeros(shape),
            "past": np.zeros(shape),
            "future": np.zeros(shape),
            "times": np.zeros((levels, channels), np.int64),
            "count": np.zeros((), np.int64),
        }

    def stepper(self, spec: Spec, lacks: bool = False) -> Stepper:
        """Return the function that takes frames in; one that lacks pixels counts as absent."""
        numbers, index, labels = self._regions(spec)
        bands = len(spec.bands)
        regions = (labels + len(numbers) * np.arange(bands)[:, np.newaxis]).ravel()

        def step(state: State, frames: Frames) -> None:
            images = frames.pixels.reshape(len(frames), bands, -1)
            for number, image in zip(frames.numbers.tolist(), images, strict=True):
                for _ in range(int(state["next"]), number):
                    self._push(state, None, regions, 0)
                taken = None if lacks else image[:, index].ravel().astype(np.float32)
                self._push(state, taken, regions, 0)
                state["next"][...] = number + 1
                state["count"] += taken is not None

        return step

    def merge(self, states: Sequence[State]) -> State:
        """Return the only one that has got frames."""
        return max(states, key=lambda state: int(state["next"]))

    def told(self, state: State) -> State:
        """Return what was added up; the last images are for further frames alone."""
        return {name: one for name, one in state.items() if name not in LAST_IMAGES}

    def result(self, state: State, spec: Spec) -> Values:
        """Return g₂ at all delays."""
        pairs = [(level, k) for level in range(self.levels) for k in self._channels(level)]
        levels, channels = (np.array(column) for column in zip(*pairs, strict=True))
        times = state["times"][levels, channels]
        _, _, labels = self._regions(spec)
        pixels = np.tile(np.bincount(labels), len(spec.bands))
        products, past, future = (
            state[name][levels, channels] for name in ("products", "past", "future")
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            g2 = products * pixels * times[:, np.newaxis] / (past * future)
        shaped = g2.reshape(len(pairs), len(spec.bands), -1).transpose(1, 2, 0)
        return {"g2": shaped, "times": times, "frames": state["count"]}

    def _push(
        self, state: State, image: NDArray[np.float32] | None, regions: Any, level: int
    ) -> None:
        """Put an image, or that there is none, on a level; a pair of them also on the next."""
        position = int(state["position"][level]) % self.channels
        if image is None:
            state["there"][level, position] = False
        else:
            first = self._channels(level).start
            correlate(
                image, regions, *(state[name][level] for name in ("ring", "sums", "there")),
                position, first,
                *(state[name][level] for name in ("products", "past", "future", "times")),
            )  # fmt: skip
        state["position"][level] += 1
        if position % 2 and level + 1 < self.levels:
            both = state["there"][level, position - 1 : position + 1].all()
            pair = state["ring"][level, position - 1 : position + 1]
            self._push(state, pair.mean(axis=0) if both else None, regions, level + 1)

    def _channels(self, level: int) -> range:
        """Return the delays of a level, in its images; those of the level before are left out."""
        return range(self.channels // 2 if level else 1, self.channels)

    def _delays(self) -> NDArray[np.int64]:
        """Return all delays, in frames."""
        return np.array([k << level for level in range(self.levels) for k in self._channels(level)])

    def _regions(self, spec: Spec) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
        """Return the regions' numbers, their pixels, and the place of each one's number.

        Raises
        ------
        ConfigError
            When the image of them cannot be read, or does not fit the frames.
        """
        if (self.path is None) == (self.array is None):
            raise ConfigError(
                "the regions are given by a path or an array",
                field="path", value=self.path, allowed="file or file.h5::/dataset",
            )  # fmt: skip
        image = np.asarray(self.array if self.path is None else read_image(self.path))
        if image.shape != spec.grid.shape or image.dtype.kind not in "biu":
            raise ConfigError(
                f"the regions are {image.shape} {image.dtype}, the frames {spec.grid.shape}",
                field="path" if self.path else "array",
                value=self.path or "an array",
                allowed=f"whole numbers of shape {spec.grid.shape}",
            )
        used = image != 0
        if spec.masked is not None:
            used &= ~(spec.masked if spec.masked.ndim == 2 else spec.masked.any(axis=0))
        index = np.flatnonzero(used)
        if not index.size:
            raise ConfigError(
                "no pixel is in any region", field="path", value=self.path or "an array",
                allowed="numbers other than 0 where frames are not masked",
            )  # fmt: skip
        numbers, labels = np.unique(image.ravel()[index], return_inverse=True)
        return numbers.tolist(), index, labels.astype(np.int64)
