"""Neighbouring corrections as one pass over memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.task import Kernel, PixelTask, Task
from limadask_tasks import kernels
from limadask_tasks.background import Background, difference_dtype
from limadask_tasks.flatfield import Flatfield
from limadask_tasks.image import ImageTask
from limadask_tasks.mask import Mask, as_coefficients

_ORDER = (Mask, Background, Flatfield)


class Correction(PixelTask):
    """A mask, a background and a flat-field, in this order, any of them left out.

    The planner makes it of nodes that stand next to each other; the result is the same to the
    last bit.
    """

    steps: tuple[ImageTask, ...]
    """The corrections."""

    def plan(self, spec: Spec) -> Spec:
        """Plan one after the other."""
        for step in self.steps:
            spec = step.plan(spec)
        return spec

    def merged(self, following: Task) -> Task | None:
        """Take in one more, as long as the order is kept and nothing is cut to a type between."""
        if not isinstance(following, _ORDER):
            return None
        if _ORDER.index(type(following)) <= _ORDER.index(type(self.steps[-1])):
            return None
        background = next((step for step in self.steps if isinstance(step, Background)), None)
        if background is not None and background.dtype is not None:
            return None
        return Correction(steps=(*self.steps, following))

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        if len(self.steps) == 1:
            return self.steps[0].kernel(spec)
        inputs = {}
        for step in self.steps:
            inputs[type(step)] = step, spec
            spec = step.plan(spec)
        if Flatfield not in inputs:  # a mask and a background: subtract knows of masks
            background, given = inputs[Background]
            return background.kernel(given)
        flatfield, given = inputs[Flatfield]
        if Background not in inputs:  # the divisor is NaN where masked
            return flatfield.kernel(given)
        background, before = inputs[Background]
        image = background.image(before)
        wide = difference_dtype(before.dtype, image.dtype)
        dark, flat = as_coefficients(image, before).astype(wide), flatfield.divisor(given)  # type: ignore[attr-defined]
        zero = wide.type(0)

        def run(pixels: NDArray[Any], out: NDArray[Any]) -> None:
            kernels.subtract_divide(pixels, dark, flat, zero, out)

        return run

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters of each correction, by its name."""
        fields = {}
        for step in self.steps:
            fields[step.task_name()] = step.effective(spec)
            spec = step.plan(spec)
        return fields
