"""Corrections by an image: a mask, a background, a flat-field, alone or as one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Rect
from limadask.storage import absolute_path, read_image
from limadask.task import Kernel, PixelTask, Task
from limadask_tasks import kernels

Image = Annotated[str | SkipJsonSchema[NDArray[Any]] | None, Field(repr=False)]
"""A path, as that of a mask, or from Python an array ``(y, x)`` or ``(band, y, x)``."""


class ImageTask(PixelTask):
    """A correction by an image of shape ``(y, x)``, for all bands, or ``(band, y, x)``.

    The image is given as an array, or as a path.
    """

    model_config = ConfigDict(json_schema_extra={"required": ["path"]})  # no arrays in files

    place: ClassVar[int]
    """Its place among the corrections that share one pass: mask 0, background 1, flat-field 2."""

    path: str | None = None
    """``file`` or ``file.h5::/dataset``; without a dataset the default NXdata signal or the only
    image."""
    array: SkipJsonSchema[NDArray[Any] | None] = Field(default=None, exclude=True, repr=False)
    """The image itself."""

    def __init__(self, array: NDArray[Any] | None = None, /, **fields: Any) -> None:
        if array is not None:
            fields["array"] = np.asarray(array)
        super().__init__(**fields)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.array is None):
            raise ConfigError(
                f"{type(self).__name__} needs a path or an array",
                field="path",
                value=self.path,
                allowed="file or file.h5::/dataset",
            )
        return self

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute path."""
        return self if self.path is None else self.replace(path=absolute_path(self.path, folder))

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters as plain data."""
        fields = super().effective(spec)
        if self.array is not None:
            fields["array"] = f"{self.array.shape} {self.array.dtype}"
        return fields

    def image(self, spec: Spec) -> NDArray[Any]:
        """Return the image, shape ``(band or 1, y, x)``.

        Raises
        ------
        ConfigError
            When it cannot be read, holds no real numbers, or does not fit the frames.
        """
        image = np.asarray(self.array if self.path is None else read_image(self.path))
        field, source = ("path", self.path) if self.path else ("array", "an array")
        if image.dtype.kind not in "biuf":  # NumPy would drop the imaginary part, and mask by words
            raise ConfigError(
                f"the image holds {image.dtype}, which are no real numbers",
                field=field,
                value=str(image.dtype),
                allowed="booleans, integers or floats",
            )
        stack = image[np.newaxis] if image.ndim == 2 else image
        bands, rows, columns = spec.frame_shape
        if stack.ndim != 3 or stack.shape[1:] != (rows, columns) or len(stack) not in (1, bands):
            raise ConfigError(
                f"the image has shape {image.shape}, the frames {spec.frame_shape}",
                field=field,
                value=f"{source} {image.shape}",
                allowed=f"({rows}, {columns}) or ({bands}, {rows}, {columns})",
            )
        return stack

    def for_part(self, whole: Spec, region: Rect) -> Self:
        """Return the same correction by the part's own pixels of the image."""
        return self.replace(path=None, array=self.image(whole)[:, *region.slices])

    def merged(self, following: Task) -> Task | None:
        """Share one pass with a correction that follows."""
        return Correction(steps=(self,)).merged(following)

    def dark(self, spec: Spec) -> NDArray[Any]:
        """Return what is subtracted, shape ``(band or 1, pixel)``, in the differences' type."""
        raise NotImplementedError(f"{type(self).__name__} subtracts nothing")

    def divisor(self, spec: Spec) -> NDArray[Any]:
        """Return what is divided by, shape ``(band or 1, pixel)``, NaN where masked."""
        raise NotImplementedError(f"{type(self).__name__} divides by nothing")

    @property
    def cuts(self) -> bool:
        """Whether it cuts its result to a type that the user wants."""
        return False


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
        last = self.steps[-1]
        if not isinstance(following, ImageTask) or following.place <= last.place or last.cuts:
            return None
        return Correction(steps=(*self.steps, following))

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        inputs: list[Spec] = []
        for step in self.steps:
            inputs.append(spec)
            spec = step.plan(spec)
        by_place = {step.place: number for number, step in enumerate(self.steps)}
        if not {1, 2} <= set(by_place):  # the last one knows of the mask: it is in its spec
            return self.steps[-1].kernel(inputs[-1])
        first, last = by_place[1], by_place[2]
        dark = self.steps[first].dark(inputs[first])
        flat = self.steps[last].divisor(inputs[last])
        zero = dark.dtype.type(0)

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


def image_of(source: str | NDArray[Any], field: str, spec: Spec) -> NDArray[Any]:
    """Return the image of a task's field, shape ``(band or 1, y, x)``.

    Raises
    ------
    ConfigError
        When it cannot be read, or does not fit the frames.
    """
    try:
        task = ImageTask(path=source) if isinstance(source, str) else ImageTask(source)
        return task.image(spec)
    except ConfigError as error:
        raise ConfigError(
            error.message, field=field, value=error.value, allowed=error.allowed
        ) from error


def as_coefficients(image: NDArray[Any] | None, spec: Spec) -> NDArray[Any]:
    """Return an image as ``(band or 1, pixel)``; no image at all as a mask of none."""
    if image is None:
        return np.zeros((1, spec.grid.shape[0] * spec.grid.shape[1]), bool)
    return np.ascontiguousarray(image.reshape(1 if image.ndim == 2 else len(image), -1))
