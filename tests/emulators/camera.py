"""A whole small detector over real sockets: a control unit whose triggers send images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import pytest
from emulators.control_unit import ControlUnit, Reply
from emulators.image_stream import ImageStream

from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.order import Order
from limadask_detectors import Dectris
from limadask_detectors.dectris.channels import channels_of

SHAPE = (48, 64)


class Camera(ControlUnit):
    """A detector whose images are small; its streams have faults on demand.

    It sends from this process, since tests halt it in the middle, and cut it off. Like a real one
    it answers a trigger when the last image is sent, and has one channel on stream v1.

    Parameters
    ----------
    stream:
        The stream that it has.
    images:
        What its images are like; those bands are enabled.
    """

    def __init__(self, stream: Literal["v1", "stream2"], images: Images) -> None:
        super().__init__()
        self.faults: dict[str, Any] = {}
        """What is wrong with the next series: fields of an :class:`Order`."""
        self.takes_time = False
        """Whether its exposures take the time that they should."""
        self.damaged: list[int] = []
        """Images of the next series whose payload has been damaged on its way."""
        self.cut_after: int | None = None
        """The number of the image after which its stream hangs up."""
        self.sent: list[int] = []
        """The images of the last series that were sent."""
        self.images_of = ImageStream(stream, images)
        self._halted, self._busy = threading.Event(), threading.Lock()
        self._triggers = 0
        for axis, size in zip("yx", images.shape, strict=True):
            self.config[f"{axis}_pixels_in_detector"]["value"] = size
        self.config["bit_depth_image"]["value"] = int(images.dtype.removeprefix("uint"))
        for number in (1, 2):
            is_on = f"threshold_{number}" in images.bands
            self.config[f"threshold/{number}/mode"]["value"] = "enabled" if is_on else "disabled"

    @property
    def images(self) -> Images:
        """What its images are like, as it is armed."""
        return self.images_of.images

    def detector(self, **fields: Any) -> Dectris:
        """Return what controls it."""
        stream = self.images_of
        fixed = {"port": self.port, "stream": stream.kind, "stream_port": stream.port}
        return Dectris(**{"host": "127.0.0.1", **fixed, "timeout": 5, **fields})

    @contextmanager
    def serving(self) -> Iterator[Camera]:
        """Serve on free ports."""
        self.images_of.open()
        try:
            with super().serving():
                yield self
        finally:
            self._halted.set()
            with self._busy:
                self.images_of.cut()

    def shut(self) -> None:
        """Serve no more, as if the plug was pulled; what is exposed is lost."""
        self.is_down = True
        self._halted.set()
        super().shut()

    def revive(self) -> None:
        """Start again, where it was shut or its stream was cut, as after a power cycle."""
        self.cut_after, self.faults, self.damaged = None, {}, []
        self.replies = {}
        self.release()
        self._halted.set()
        with self._busy:
            self.images_of.cut()
            self.images_of.open()
        if self.is_down:
            self.start()
            self.state = "na"

    # ---- commands -------------------------------------------------------------------------------

    def _command(self, name: str) -> Reply:
        commands: Mapping[str, Callable[[], bool]] = {"arm": self._arm, "trigger": self._expose}
        if not commands.get(name, self._halt)():
            return 400, f"{name} is not possible in state {self.state}".encode()
        return 200, b'{"sequence id": %d}' % self.series

    def _arm(self) -> bool:
        if self.state != "idle":
            return False
        values = {name: about["value"] for name, about in self.config.items()}
        self.images_of.show(channels_of(values))
        self._halted.clear()
        self.series, self._triggers, self.sent = self.series + 1, 0, []
        self.state = "ready"
        return True

    def _expose(self) -> bool:
        """Send the images of a trigger; the series begins with the first, and ends with the last.

        Nothing is sent when it is armed: who arms it need not have a receiver yet.
        """
        with self._busy:
            if self.state != "ready":
                return False
            self.state = "acquire"
            order = self._order()
            if order.start and not self._triggers:
                self.images_of.begin(order, self._halted)
            self._triggers += 1
            first = order.frames - int(self.config["nimages"]["value"])
            for number in order.numbers():
                if number >= first and not self._send(order, number):
                    break
            is_last = self._triggers == self.config["ntrigger"]["value"]
            self._finish("idle" if is_last or self._halted.is_set() else "ready")
        return True

    def _order(self) -> Order:
        """Return the series as far as this trigger."""
        count = int(self.config["nimages"]["value"]) * (self._triggers + 1)
        return Order(series=self.series, frames=count, **self.faults)

    def _send(self, order: Order, number: int) -> bool:
        if self.takes_time:
            self._halted.wait(float(self.config["frame_time"]["value"]))
        is_damaged = number in self.damaged
        if self._halted.is_set() or not self.images_of.send(
            order, number, self._halted, is_damaged
        ):
            return False
        self.sent.append(number)
        if number == self.cut_after:
            self.images_of.cut()
        return True

    def _finish(self, state: str) -> None:
        if state == "idle" and not self.is_down and self.faults.get("end", True):
            self.images_of.end(Order(series=self.series), self._halted)
        self.state = state

    def _halt(self) -> bool:
        """Do what all other commands do: end the series, if there is one."""
        self._halted.set()
        with self._busy:
            if self.state == "ready" and self._triggers:
                self._finish("idle")
            self.state = "idle"
        return True


Cameras = Callable[..., Camera]
"""Makes cameras; a test has as many as it wants."""


@pytest.fixture
def cameras() -> Iterator[Cameras]:
    with ExitStack() as stack:

        def make(stream: Literal["v1", "stream2"] = "stream2", **images: Any) -> Camera:
            return stack.enter_context(
                Camera(stream, Images(**{"shape": SHAPE, **images})).serving()
            )

        yield make
