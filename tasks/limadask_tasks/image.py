"""Base of the corrections that need an image: a mask, a background, a flat-field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.storage import absolute_path, read_image
from limadask.task import PixelTask


class ImageTask(PixelTask):
    """A correction by an image of shape ``(y, x)``, for all bands, or ``(band, y, x)``.

    The image is given as an array, or as a path.
    """

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
            raise ValueError(f"{type(self).__name__} needs a path or an array")
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
            When it cannot be read, or does not fit the frames.
        """
        image = read_image(self.path) if self.path is not None else self.array
        image = np.asarray(image)
        stack = image[np.newaxis] if image.ndim == 2 else image
        bands, rows, columns = spec.frame_shape
        if stack.ndim != 3 or stack.shape[1:] != (rows, columns) or len(stack) not in (1, bands):
            field, source = ("path", self.path) if self.path else ("array", "an array")
            raise ConfigError(
                f"the image has shape {image.shape}, the frames {spec.frame_shape}",
                field=field,
                value=f"{source} {image.shape}",
                allowed=f"({rows}, {columns}) or ({bands}, {rows}, {columns})",
            )
        return stack
