"""Parts of frames put together to full frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limadask.engine.blocks import Answer, Ending
from limadask.frames import Frames, Mosaic, Spec, Status
from limadask.memory import BufferPool

MOST = 4
"""How many times as many blocks there may be memory for, where they are processed slowly."""


class Assembler:
    """Places the parts of several receivers in full frames, by their grids.

    Pixels of no part hold the fill value. A frame that some part is missing from is partial, and
    its pixels there are invalid.

    Parameters
    ----------
    whole:
        The full frames; their mask tells where no module is.
    parts:
        What each receiver delivers.
    nb_frames_per_block:
        Frames of a block.
    slots:
        Blocks whose memory is used again and again; more are allocated as they come.
    uuid:
        The acquisition.
    """

    def __init__(
        self,
        whole: Spec,
        parts: Sequence[Spec],
        nb_frames_per_block: int,
        slots: int,
        uuid: str = "",
    ) -> None:
        self._whole, self._size = whole, nb_frames_per_block
        self._places = Mosaic.of(whole, parts).places
        nbytes = nb_frames_per_block * whole.frame_nbytes
        self._pool = BufferPool(slots, nbytes, None, "assemble", uuid, ceiling=MOST * slots)

    def assemble(self, answers: Sequence[Answer]) -> Answer:
        """Return the full frames of one block, or how its ticket ends without any.

        Frames that no part has are left out; ``causes`` tells why.
        """
        blocks = [None if isinstance(one, Ending) else one for one in answers]
        there = [one for one in blocks if one is not None]
        if not there:
            return Ending.ABSENT if Ending.ABSENT in answers else Ending.UNUSED
        numbers, counts = np.unique(
            np.concatenate([one.numbers for one in there]), return_counts=True
        )
        if not len(numbers):
            return Ending.ABSENT
        shape = (len(numbers), *self._whole.frame_shape)
        pixels = self._pool.array(shape, self._whole.dtype)
        if self._whole.masked is not None:
            pixels[:, :, self._whole.masked] = self._whole.fill
        whole = Frames.of(pixels)
        whole.numbers, whole.born = numbers, max(one.born for one in there)
        whole.handed = max(one.handed for one in there)
        span = min(one.span[0] for one in there), max(one.span[1] for one in there)
        causes: dict[int, str] = {}
        invalid: dict[int, NDArray[np.bool_]] = {}
        for place, block, answer in zip(self._places, blocks, answers, strict=True):
            gone = "receiver_lost" if answer is Ending.ABSENT else "detector"
            _paste(whole, place, block, gone, self._whole.fill, causes, invalid)
        for block in there:
            for number, cause in block.causes.items():
                causes.setdefault(number, cause)
        whole.span, whole.causes, whole.invalid = span, causes, invalid
        whole.nb_lacking = int((counts < len(answers)).sum())
        return whole


Place = tuple[slice, slice]


def _paste(
    whole: Frames,
    place: Place,
    block: Frames | None,
    gone: str,
    fill: object,
    causes: dict[int, str],
    invalid: dict[int, NDArray[np.bool_]],
) -> None:
    """Put one receiver's part in its place, and note what is missing from it."""
    target = whole.pixels[:, :, place[0], place[1]]
    told = {} if block is None else block.causes
    rows = np.searchsorted(whole.numbers, [] if block is None else block.numbers)
    if block is not None and len(rows) == len(whole.numbers):
        np.copyto(target, block.pixels)
    elif block is not None:
        target[rows] = block.pixels
    lacking = np.ones(len(whole.numbers), bool)
    lacking[rows] = False
    for row in np.flatnonzero(lacking).tolist():
        number = int(whole.numbers[row])
        target[row] = fill
        cause = told.get(number, gone)
        _note(whole, row, place, True, cause, causes, invalid)
    if block is None:
        return
    whole.timestamps[rows] = block.timestamps
    for row, status, number in zip(rows, block.status, block.numbers.tolist(), strict=True):
        if status == Status.PARTIAL:
            missing = block.invalid.get(number, False)
            _note(whole, row, place, missing, told.get(number, "detector"), causes, invalid)


def _note(
    whole: Frames,
    row: int,
    place: Place,
    missing: NDArray[np.bool_] | bool,
    cause: str,
    causes: dict[int, str],
    invalid: dict[int, NDArray[np.bool_]],
) -> None:
    """Note that pixels of one frame are missing from a part."""
    number = int(whole.numbers[row])
    whole.status[row] = Status.PARTIAL
    causes.setdefault(number, cause)
    if missing is not False:
        mask = invalid.setdefault(number, np.zeros(whole.pixels.shape[1:], bool))
        mask[:, place[0], place[1]] |= missing
