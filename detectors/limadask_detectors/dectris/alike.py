"""Images of stream 2, of which all in a series are alike: after the first, little is left to read.

To read one value by value takes longer than to receive a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from limadask_detectors.dectris import chunk, stream2
from limadask_detectors.dectris.layout import Layout, owners
from limadask_detectors.dectris.message import LARGEST, Image, Message, Part, Pixels

NUMBER, TIMES = "image_id", stream2.TIMES
ATTEMPTS = 8
"""Images in a row, each unlike the one before, after which none is expected to be like another."""
Found = tuple[list[int], list[memoryview]]
"""The numbers and the payloads of an image."""


class Alike:
    """Reads images by what they have in common with the last one that was read in full."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._raw: Part = b""
        self._attempts = ATTEMPTS

    def split(self, parts: Sequence[Part]) -> list[list[Part]]:
        """Return each part: it is a message."""
        return stream2.split(parts)

    def identify(self, parts: Sequence[Part]) -> Message:
        """Return whose message it is; ValueError when it is none of this stream."""
        message = None if self._model is None else self._model.identify(memoryview(parts[0]))
        if message is None:
            self._raw = parts[0]
            message = stream2.identify(parts)
        return message

    def announced(self, message: Message) -> int:
        """Return how many images a start tells of; 0 where it does not."""
        return stream2.announced(message)

    def image(self, message: Message) -> Image:
        """Return the image in a message; ValueError when it cannot be read."""
        if self._model is not None and isinstance(message.body, tuple):
            self._attempts = ATTEMPTS
            return self._model.image(message.body)
        image = stream2.image(message)
        if self._attempts:
            self._attempts -= 1
            self._model = Model.of(memoryview(self._raw), message, image)
        self._raw = b""
        return image


class Model:
    """An image that was read in full, and what may differ from it.

    Parameters
    ----------
    raw, message, image:
        The image as it came, and what was read of it.

    Raises
    ------
    ValueError
        When others cannot be read like it.
    """

    def __init__(self, raw: memoryview, message: Message, image: Image) -> None:
        named = list(owners(message.body))
        free = [place for place, name in enumerate(named) if name in (NUMBER, *TIMES)]
        self._layout = Layout(raw, frozenset(free))
        if self._layout.count != len(named):
            raise ValueError("fields come twice")
        order = [named[place] for place in free]
        if sorted(order) != sorted((NUMBER, *TIMES, *TIMES)):
            raise ValueError("times are told in another way")
        self._number = order.index(NUMBER)
        self._start, self._stop, self._real = (order.index(name) for name in TIMES)
        self._series, self._began = message.series, stream2.began(message.body)
        # without the pixels, which would keep the memory of the whole message
        self._channels = {name: replace(one, chunk=b"") for name, one in image.channels.items()}
        if any(not isinstance(one.chunk, memoryview) for one in image.channels.values()):
            raise ValueError("its pixels are not taken as they are")
        again = self.identify(raw)
        if again is None or _told(self.image(again.body)) != _told(image):
            raise ValueError("it would be read otherwise")

    @classmethod
    def of(cls, raw: memoryview, message: Message, image: Image) -> Model | None:
        """Return a model if an image is good as one."""
        try:
            return cls(raw, message, image)
        except ValueError:
            return None

    def identify(self, message: memoryview) -> Message | None:
        """Return whose message it is; None when it is not like this image."""
        found = self._layout.read(message)
        if found is None or len(found[1]) != len(self._channels):
            return None
        number = found[0][self._number]
        return Message("image", self._series, number, found) if number < LARGEST else None

    def image(self, found: Found) -> Image:
        """Return the image with these numbers and payloads; ValueError when it cannot be read."""
        numbers, payloads = found
        start, stop, real = (
            numbers[place : place + 2] for place in (self._start, self._stop, self._real)
        )
        times = stream2.seconds(*start), stream2.seconds(*stop), stream2.seconds(*real)
        channels = {
            name: _filled(pixels, payload)
            for (name, pixels), payload in zip(self._channels.items(), payloads, strict=True)
        }
        return Image(channels, times, stream2.timestamp(self._began, *start))


def _filled(pixels: Pixels, payload: memoryview) -> Pixels:
    """Return the same image with another payload."""
    itemsize = pixels.dtype.itemsize
    nbytes = pixels.shape[0] * pixels.shape[1] * itemsize
    made: Part = payload
    if pixels.codec == "bshuf_lz4":
        made = chunk.bshuf_lz4(payload, nbytes, itemsize)
    elif pixels.codec == "lz4":
        made = chunk.lz4(payload, nbytes)
    elif len(payload) != nbytes:
        raise ValueError(f"{len(payload)} bytes are no image of {nbytes}")
    return Pixels(pixels.shape, pixels.dtype, pixels.codec, made)


def _told(image: Image) -> tuple[object, ...]:
    """Return all that is told of an image but its pixels."""
    sizes = {name: len(one.chunk) for name, one in image.channels.items()}
    return image.times, image.timestamp, sizes
