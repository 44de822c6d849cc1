"""The acquisition thread: the same for all detectors."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np

from limadask.detector import End, Frame, Lost, Receiver
from limadask.engine.cores import pin_thread
from limadask.engine.gaps import GRACE, Absence, Gaps
from limadask.engine.keeping_slot import KeepingSlot
from limadask.engine.order import Order
from limadask.engine.packed_slot import PackedSlot
from limadask.engine.relief import Relief
from limadask.engine.slot import PixelSlot, Slot
from limadask.frames import Frames, Spec
from limadask.memory import BufferPool

logger = logging.getLogger(__name__)
TAKE_TIMEOUT = 0.05
"""Seconds that a receiver may wait for a frame before the thread looks at other things."""


@dataclass(slots=True)
class Progress:
    """How far a receiver has come; written by its thread alone, read by others.

    Parameters
    ----------
    received:
        Frames taken.
    refused:
        Frames that came twice, or too late.
    next:
        The place expected next, among the frames of this receiver.
    seen:
        The highest frame number seen, plus one.
    blocks:
        Blocks delivered.
    ended:
        Whether the thread has ended.
    error:
        What ended it, if anything went wrong.
    absences:
        Places, or frames under dynamic dispatch, that stay empty.
    """

    received: int = 0
    refused: int = 0
    next: int = 0
    seen: int = 0
    blocks: int = 0
    ended: bool = False
    error: str = ""
    absences: list[Absence] = field(default_factory=list)


class Receiving(threading.Thread):
    """Takes frames into slots of the pool and delivers them in blocks.

    Blocks never cross a multiple of ``nb_frames_per_block``, counted among the receiver's own
    frames: where several take turns, these are their places. Frames that did not come are left
    out of them and reported. A block is delivered early when its frames have waited for
    ``patience`` seconds. Frames may come in any order within a block; one whose block is gone
    already makes a block of its own.

    Parameters
    ----------
    receiver:
        The plugin's part: how to get one frame.
    pool:
        Where the frames are put.
    spec:
        What the receiver delivers.
    nb_frames_per_block:
        Frames of a full block.
    patience:
        Seconds a frame waits for others of its block.
    deliver:
        Called with each block, from this thread.
    ended:
        Called once, from this thread, after the last block.
    takes_late:
        Whether frames are still good when their block is gone.
    relief:
        What is done when the pool is full; None waits for room.
    keeps:
        Whether compressed frames may stay where they were received: no block leaves the process.
    cores:
        Cores that the thread is pinned to; empty for any.
    """

    def __init__(
        self,
        receiver: Receiver,
        pool: BufferPool,
        spec: Spec,
        nb_frames_per_block: int,
        patience: float,
        deliver: Callable[[Frames], object],
        ended: Callable[[], object],
        takes_late: bool = True,
        relief: Relief | None = None,
        keeps: bool = False,
        cores: Collection[int] = (),
    ) -> None:
        super().__init__(name="limadask-receive", daemon=True)
        self._receiver, self._pool, self._spec = receiver, pool, spec
        self._size, self._patience = nb_frames_per_block, patience
        self._deliver, self._when_ended = deliver, ended
        self._halt = threading.Event()
        self._grace = float("inf")
        self._starved = self._leaves_out = False
        self._cores = cores
        self._relief, self._may_take = relief or Relief(), threading.Event()
        self._may_take.set()
        self._packed_slot = KeepingSlot if keeps else PackedSlot
        self._accounted = self._block = 0
        self._order = Order(receiver.deal, spec.nb_frames)
        self._slot: Slot | None = None
        self._pending: Frame | None = None
        self._gaps, self._takes_late = Gaps(), takes_late
        self.progress, self.details = Progress(), ""

    def run(self) -> None:
        """Take frames until the last, :class:`End`, or :meth:`stop`."""
        try:
            self._receiver.start()
            self._pin()  # now: threads that the plugin has started go where they like
            self._acquire()
        except Exception as error:
            self.progress.error = f"{type(error).__name__}: {error}"
            self.details = traceback.format_exc(limit=-8)
        finally:
            self._close_block()  # what had come before an error is there all the same
            self._tell_absences(float("inf"))
            self._slot = self._pending = None
            self._receiver.given.clear()
            self.progress.ended = True
            self._when_ended()

    def stop(self, abort: bool, grace: float = 2.0) -> None:
        """Ask the receiver to end; when it has not within ``grace`` seconds, end without it."""
        self._receiver.stop(abort)
        self._grace = time.monotonic() + (0 if abort else grace)
        if abort:
            self._halt.set()
        self._may_take.set()

    def pause(self) -> None:
        """Take no frames for a while that come only when they are taken."""
        if self._receiver.pulls and self._grace == float("inf"):
            self._may_take.clear()
        self._receiver.pause()

    def resume(self) -> None:
        """Take frames again."""
        self._receiver.resume()
        self._may_take.set()

    def _pin(self) -> None:
        try:
            if self._cores:
                pin_thread(self._cores)
        except OSError as error:  # they were allowed when it was prepared
            logger.warning("the receiver's thread is not pinned to %s: %s", self._cores, error)

    def _acquire(self) -> None:
        while not self._is_over():
            if self._gaps.due <= time.monotonic():
                self._tell_absences(time.monotonic())
            if not self._has_room():
                continue
            item, self._pending = self._pending or self._take(), None
            if isinstance(item, End):
                break
            if isinstance(item, Lost):
                self._lose(item)
            elif item is not None:
                self._accept(item)
            elif self._slot is not None and self._slot.waits(self._patience):
                self._close_block()

    def _take(self) -> Frame | Lost | End | None:
        may = self._may_take.is_set() or self._may_take.wait(TAKE_TIMEOUT)
        return self._receiver.take(TAKE_TIMEOUT) if may else None

    def _is_over(self) -> bool:
        done = self.progress.next >= self._order.last and not self._gaps
        return done or self._halt.is_set() or time.monotonic() > self._grace

    def _has_room(self) -> bool:
        """Have a slot, whose buffers the receiver is given, if it takes any."""
        if self._slot is None or self._slot.is_full:
            self._close_block()
            self._slot = None  # or it would keep the very memory that is waited for
            slot = self._new_slot(0 if self._leaves_out else TAKE_TIMEOUT)
            self._relief.note(starved=slot is None)
            self._leaves_out = slot is None and self._relief.leaves_out()
            if slot is None:
                self._starved = True
                if not self._leaves_out:
                    return False
                slot = self._new_slot(None)
            self._slot = slot
        return True

    def _new_slot(self, timeout: float | None) -> Slot | None:
        """Return a slot of the pool, if there is one in time; without one, room for one frame."""
        spec, shape = self._spec, (self._size, *self._spec.frame_shape)
        if self._receiver.packs:
            if timeout is None:
                return self._packed_slot(np.empty(0, np.uint8), spec)
            memory = self._pool.lend((self._pool.slot_nbytes,), np.uint8, timeout)
            return None if memory is None else self._packed_slot(memory, spec)
        pixels = (
            np.empty((1, *spec.frame_shape), spec.dtype)
            if timeout is None
            else self._pool.lend(shape, spec.dtype, timeout)
        )
        if pixels is None:
            return None
        for buffer in pixels:
            self._receiver.give(buffer)
        return PixelSlot(pixels, spec)

    def _finds_room(self, frame: Frame) -> bool:
        """Have a slot for a frame that came while none was free, if there is one by now."""
        spare, given = self._slot, self._receiver.given
        if isinstance(spare, PixelSlot):
            if frame.lent is None:
                frame.lent = spare.pixels[0]
            else:
                given.popleft()
        slot = self._new_slot(0)
        if slot is not None:
            self._relief.note(starved=False)
            self._slot, self._leaves_out = slot, False
        elif isinstance(spare, PixelSlot):
            given.appendleft(spare.pixels[0])  # as for any frame that was lent: see _give_back
        return slot is not None

    def _leave_out(self, frame: Frame) -> None:
        """Note that a frame came, and that nowhere is room for it."""
        self._give_back(frame)
        self._slot = None
        self._miss(self._place(frame.index), frame.index)

    def _miss(self, place: int | None, number: int) -> None:
        """Note that a frame was left out; None where it was not wanted anyway."""
        if place is None:
            return
        if not self._order.deal.is_known:
            self.progress.absences.append(Absence(number, number + 1, "overrun"))
        elif place >= self.progress.next:
            self._skip_to(place, "overrun" if self._starved else "detector")
            self._skip_to(place + 1, "overrun", grace=0.0)

    def _accept(self, frame: Frame) -> None:
        if self._leaves_out and not self._finds_room(frame):
            self._leave_out(frame)
            return
        slot, progress = self._slot, self.progress
        assert slot is not None  # noqa: S101 - _has_room was true
        if not slot.fits(frame):
            self._postpone(frame, slot)
            return
        place = self._place(frame.index)
        if place is None:
            self._discard(frame, slot)
            return
        alone = self._is_alone(place)
        if place >= progress.next and self._is_skipped(place, frame.index):
            self._discard(frame, slot)
            self._miss(place, frame.index)
            return
        if place < progress.next:
            self._gaps.fill(place)
        else:
            self._skip_to(place, "overrun" if self._starved else "detector")
            self._turn_to(place)
            progress.next = place + 1
        if alone:
            self._close_block()
        self._starved = False
        slot.add(frame)
        self._give_back(frame)
        progress.received += 1
        if alone:
            self._deliver_block(slot, (place, place))
        else:
            self._close_if_complete()

    def _is_skipped(self, place: int, number: int) -> bool:
        return self._relief.skips(place if self._order.deal.is_known else number)

    def _postpone(self, frame: Frame, slot: Slot) -> None:
        """Begin another slot for a frame; one that no slot has room for is no good."""
        if isinstance(slot, PackedSlot) and slot.is_empty:
            self._give_back(frame)
            self._lose(Lost(frame.index, frame.index, "decode_error"))
            return
        self._close_block()
        self._slot, self._pending = None, frame

    def _give_back(self, frame: Frame) -> None:
        """Let go of a frame that was lent, and of the buffer that it was not put into."""
        if frame.lent is not None:
            self._receiver.given.popleft()
        if frame.release is not None:
            frame.release()

    def _place(self, number: int) -> int | None:
        """Return a frame's place; None for one of others, that came twice, or too late."""
        progress, order = self.progress, self._order
        if not order.wants(number):
            progress.refused += number >= order.nb_frames
            return None
        progress.seen = max(progress.seen, number + 1)
        place = order.place(number, progress.next)
        if place is not None and place < progress.next:
            if place in self._gaps and (self._takes_late or not self._is_alone(place)):
                return place
            self._gaps.explain(place, place + 1, "timeout")  # a sum cannot take it any more
            place = None
        progress.refused += place is None
        return place

    def _is_alone(self, place: int) -> bool:
        """Tell whether a frame is so late that its block is gone already."""
        is_gone = place < self._accounted or place // self._size != self._block
        return place < self.progress.next and is_gone

    def _discard(self, frame: Frame, slot: Slot) -> None:
        """Leave out a frame that is not wanted."""
        if frame.lent is None and isinstance(slot, PixelSlot):
            given = self._receiver.given
            if len(given) == len(slot.pixels) - slot.position - 1:
                self._receiver.take_back(slot.pixels[slot.position])
            else:  # buffers further on are being filled already
                self._close_block()
                slot.skip()
        elif frame.release is not None:
            frame.release()

    def _lose(self, lost: Lost) -> None:
        """Take what the plugin knows of frames that will not come."""
        seen = min(lost.last + 1, self._order.nb_frames)
        self.progress.seen = max(self.progress.seen, seen)
        if not self._order.deal.is_known:
            self.progress.absences.append(Absence(lost.first, lost.last + 1, lost.cause))
            return
        before = self.progress.next
        first, stop = self._order.places(lost.first, lost.last + 1)
        lowest = first
        self._skip_to(first, "detector")
        first = max(first, before)
        if stop > before:
            self._skip_to(stop, lost.cause, grace=0.0)
            self.progress.next = stop
        self._gaps.explain(lowest, min(first, stop), lost.cause)

    def _skip_to(self, place: int, cause: str, grace: float = GRACE) -> None:
        """Note that the frames before ``place`` did not come, or not yet."""
        progress = self.progress
        if place > progress.next:
            self._gaps.add(progress.next, place, cause, grace)
            progress.next = place

    def _turn_to(self, place: int) -> None:
        """Close the block before when a frame belongs to another."""
        block = place // self._size
        if block != self._block:
            self._close_block(reach=block * self._size)
            self._block = block

    def _close_if_complete(self) -> None:
        first, reached = self._block * self._size, self.progress.next
        at_end = reached >= first + self._size or reached == self._order.last
        if at_end and not self._gaps.waits_for(first, reached):
            self._close_block()

    def _close_block(self, reach: int = 0) -> None:
        """Deliver the frames collected; the rest of the slot serves the next block."""
        if self._slot is not None:
            reached = min(self.progress.next, (self._block + 1) * self._size)
            self._deliver_block(self._slot, (self._accounted, max(reached, reach)))

    def _deliver_block(self, slot: Slot, span: tuple[int, int]) -> None:
        block = slot.cut(self._order.span(*span))
        if block is not None and self._order.deal.dispatch == "partial":
            block.causes = {**self._gaps.causes(*span), **block.causes}
        if block is not None:
            self._accounted = max(self._accounted, span[1])
            self.progress.blocks += 1
            self._deliver(block)

    def _tell_absences(self, until: float) -> None:
        self.progress.absences += self._gaps.tell(until)
        self._close_if_complete()
