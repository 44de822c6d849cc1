"""What an acquisition thread tells the thread whose its blocks are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from limadask.engine.blocks import Blocks
from limadask.engine.matched import MatchedBlocks
from limadask.frames import Frames


class Feedback:
    """Hands on, from one thread to another, what happens while frames are received.

    Parameters
    ----------
    post:
        Calls a function in the other thread, soon.
    blocks:
        Where blocks go.
    ended:
        Called there after the last block.
    pressed:
        Called there when the pool's level is another one.
    """

    def __init__(
        self,
        post: Callable[..., Any],
        blocks: Blocks | MatchedBlocks,
        ended: Callable[[], object],
        pressed: Callable[[], object],
    ) -> None:
        self._post, self._blocks = post, blocks
        self._ended, self._pressed = ended, pressed

    def deliver(self, frames: Frames) -> None:
        """Hand a block on."""
        self._post(self._blocks.deliver, frames)

    def post(self, work: Callable[[], object]) -> None:
        """Let something be done in the thread whose the blocks are."""
        self._post(work)

    def ended(self) -> None:
        """Tell that no further block comes."""
        self._post(self._ended)

    def pressed(self) -> None:
        """Tell that the pool's level is another one."""
        self._post(self._pressed)
