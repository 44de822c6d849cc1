"""What results of a whole run that are images have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Spec
from limadask.task import Products, Running, State, Stepper, Values, Variable
from limadask_tasks import running_kernels as kernels
from limadask_tasks.correction import as_coefficients

IMAGE = ("band", "y", "x")
Taker = Callable[[State, NDArray[Any]], object]
"""Takes pixels ``(frame, band, y, x)`` into a state."""


class RunImages(Running):
    """Base of the results that are images; ``frames`` tells of how many frames they are."""

    def init(self, spec: Spec) -> State:
        """Return the state of no frame: the images, and how many frames lack each pixel."""
        return {"count": np.zeros((), np.int64), "missing": np.zeros((0, 0), np.uint32)}

    def stepper(self, spec: Spec, lacks: bool = False) -> Stepper:
        """Return the function that takes frames in, and counts them."""
        masked = kernels.no_mask()
        if spec.masked is not None:
            masked = as_coefficients(spec.masked, spec)
        take = self.taker(masked)

        def step(state: State, frames: Frames) -> None:
            if lacks:
                _note_missing(state, masked, len(frames), spec)
            take(state, frames.pixels)
            state["count"] += len(frames)

        return step

    def taker(self, masked: NDArray[np.bool_]) -> Taker:
        """Return the compiled part of a step."""
        raise NotImplementedError

    def planned(self, spec: Spec, images: dict[str, np.dtype[Any]]) -> Products:
        """Return what is planned: these images, and how many frames they are of."""
        variables = {name: Variable(IMAGE, dtype) for name, dtype in images.items()}
        variables["frames"] = Variable((), np.dtype("i8"))
        return Products(variables, {"band": (("band",), list(spec.bands))}, running=self)


def flat(spec: Spec) -> tuple[int, int]:
    """Return the shape ``(band, pixel)`` of a state's images."""
    return len(spec.bands), spec.grid.shape[0] * spec.grid.shape[1]


def _note_missing(state: State, masked: NDArray[np.bool_], count: int, spec: Spec) -> None:
    """Count the frames that lack each pixel; those masked in all frames do not matter."""
    if not state["missing"].size:
        state["missing"] = np.zeros(flat(spec), np.uint32)
    state["missing"] += masked * np.uint32(count)


def counted(states: Sequence[State]) -> State:
    """Return how many frames there are in all, and how many of them lack each pixel."""
    known = [state["missing"] for state in states if state["missing"].size]
    missing = np.add.reduce(known) if known else states[0]["missing"]
    return {"count": np.array([state["count"] for state in states]).sum(), "missing": missing}


def times_in(state: State) -> NDArray[Any]:
    """Return of how many frames each pixel is."""
    missing = state["missing"].astype(np.int64)
    return state["count"] - missing if missing.size else state["count"]


def shown(spec: Spec, state: State, images: Values) -> Values:
    """Return flat images with their shape, masked pixels as the fill value."""
    found: Values = {"frames": state["count"]}
    for name, flat in images.items():
        image = flat.reshape(spec.frame_shape)
        if spec.masked is not None:
            fill = spec.fill if image.dtype == spec.dtype else np.nan
            image = np.where(spec.masked, fill, image)
        found[name] = image
    return found
