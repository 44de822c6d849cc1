"""What became of each frame of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import floor
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import NEVER, Status
from limadask.ledger.failures import Failures
from limadask.ledger.fates import Fates, FateTable, FrameRun
from limadask.ledger.stamps import Stamps

STOPPED = "stopped"
"""Cause of frames that are absent because the user ended the run: no policy counts them."""


class Ledger:
    """What became of each frame: small for any number of frames, whatever becomes of them.

    A frame's record only ever moves up: data that was found outweighs a loss that was presumed.

    Parameters
    ----------
    nb_frames:
        Frames expected; None while nobody knows.
    table:
        The fates it tells apart, where it shares them with others.

    Examples
    --------
    >>> ledger = Ledger(10)
    >>> ledger.mark(0, 5, Status.PRESENT)
    >>> ledger.mark(6, 10, Status.PRESENT)
    >>> ledger.finish("detector")
    >>> ledger.counts()
    {'present': 9, 'partial': 0, 'absent': 1, 'vetoed': 0}
    >>> ledger.ranges(Status.ABSENT)
    [(5, 5, 'detector')]
    """

    def __init__(self, nb_frames: int | None = None, table: FateTable | None = None) -> None:
        self.nb_frames = nb_frames
        self._fates = Fates(table or FateTable())
        self._stamps, self.failures = Stamps(), Failures()

    def __len__(self) -> int:
        """Frames it speaks of."""
        return self._fates.size if self.nb_frames is None else self.nb_frames

    def mark(self, first: int, stop: int, status: Status, cause: str = "", step: int = 1) -> None:
        """Record the fate of every ``step``-th of the frames ``first ≤ i < stop``."""
        if stop > first:
            stop = first + (stop - first - 1) // step * step + 1  # no further than the last
            code = self._fates.table.code(status, cause)
            self._fates.mark(slice(first, stop, step), code)

    def mark_frames(
        self, numbers: NDArray[np.int64], status: NDArray[np.uint8], causes: Callable[[int], str]
    ) -> None:
        """Record the fate of single frames.

        Parameters
        ----------
        numbers, status:
            Frame numbers, increasing, and the :class:`Status` of each.
        causes:
            Called with a frame number for those that are not present.
        """
        table = self._fates.table
        codes = np.full(len(numbers), table.code(Status.PRESENT, ""))
        for place in np.flatnonzero(status != Status.PRESENT).tolist():
            codes[place] = table.code(Status(int(status[place])), causes(int(numbers[place])))
        for code in np.unique(codes).tolist():
            self._fates.mark(numbers[codes == code], code)

    def stamp(
        self, numbers: NDArray[np.int64], timestamps: NDArray[np.int64], receiver: str = ""
    ) -> None:
        """Record when frames were exposed, UTC nanoseconds, and who took them."""
        self._stamps.add(numbers, timestamps, receiver)

    def finish(self, cause: str, nb_frames: int | None = None) -> None:
        """Call absent whatever is still pending."""
        if nb_frames is not None:
            self.nb_frames = nb_frames
        self.nb_frames = len(self)
        self.mark(0, self.nb_frames, Status.ABSENT, cause)
        self._stamps.gather()

    def counts(self) -> dict[str, int]:
        """Return how many frames are present, partial, absent and vetoed."""
        totals = {one.name.lower(): 0 for one in Status if one}
        for status, _, count in self._fates.counts():
            totals[status.name.lower()] += count
        return totals

    def absent(self) -> dict[str, int]:
        """Return how many frames are absent, by cause."""
        found: dict[str, int] = {}
        for status, cause, count in self._fates.counts():
            if status == Status.ABSENT and count:
                found[cause] = found.get(cause, 0) + count
        return found

    def ranges(self, status: Status) -> list[tuple[int, int, str]]:
        """Return ``(first, last, cause)`` of the frames of this status, last included."""
        runs = (run for run in self.runs() if run.status == status)
        return [(run.first, run.stop - 1, run.cause) for run in runs]

    def excess(self, bound: float | None, expected: int | None = None, lacking: int = 0) -> str:
        """Return in words that more frames are absent than may be, empty if not.

        Those that are absent because the user has ended the run do not count.

        Parameters
        ----------
        bound:
            How many may be: a number, a fraction of all as a float, None for any.
        expected:
            How many all are, where these are not the frames expected.
        lacking:
            Partial frames that a whole module is missing from: they count as well.
        """
        if isinstance(bound, float):
            count = self.nb_frames if expected is None else expected
            bound = None if count is None else floor(bound * count + 1e-6)
        absent = sum(
            count
            for status, cause, count in self._fates.counts()
            if status == Status.ABSENT and cause != STOPPED
        )
        if bound is None or absent + lacking <= bound:
            return ""
        what = f"{absent} frames are absent"
        if lacking:
            what += f" and {lacking} lack a module"
        status = Status.ABSENT if absent else Status.PARTIAL
        first, last, cause = [one for one in self.ranges(status) if one[2] != STOPPED][-1]
        return f"{what}, the policy allows {bound}; the last are {first} to {last}, cause {cause!r}"

    def runs(self) -> Iterator[FrameRun]:
        """Yield runs of frames of one fate, in order; frames in none of them are pending."""
        runs = self._fates.runs(0, self._fates.size)
        return (run for run in runs if run.status != Status.PENDING)

    def between(self, first: int, stop: int) -> Iterator[FrameRun]:
        """Yield what is known of frames ``first ≤ i < stop``, pending ones too, in order."""
        return self._fates.runs(first, stop)

    def last(self, *status: Status) -> int:
        """Return the highest frame of these fates, -1 where there is none."""
        return self._fates.last(status)

    def columns(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16], list[str]]:
        """Return status of the first frames, and cause as index into a list of causes."""
        table, codes = self._fates.table, self._fates.codes(0, count)
        return table.status[codes], codes, [cause for _, cause in table.fates]

    def status(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the status of some frames."""
        reach = int(numbers.max(initial=-1)) + 1
        return self._fates.table.status[self._fates.codes(0, reach)[numbers]]

    def to_dataset(self) -> xr.Dataset:
        """Return status, cause, receiver and timestamp of every frame, dim ``frame``.

        ``attrs["failures"]`` tells which nodes raised what, one line for each.
        """
        count = len(self)
        status, codes, causes = self.columns(count)
        cause = np.array(causes)[codes]  # text of the width needed, not one object a frame
        names = ["", *sorted(self._stamps.receivers() - {""})]
        receiver = np.zeros(count, np.intp)
        stamps = np.full(count, NEVER)
        for numbers, times, name in self._stamps:
            inside = numbers < count
            stamps[numbers[inside]] = times[inside]
            receiver[numbers[inside]] = names.index(name)
        flags = {
            "flag_values": [int(one) for one in Status],
            "flag_meanings": " ".join(one.name.lower() for one in Status),
        }
        return xr.Dataset(
            {
                "status": ("frame", status, flags),
                "cause": ("frame", cause),
                "receiver": ("frame", np.array(names)[receiver]),
                "timestamp": ("frame", stamps.view("datetime64[ns]")),
            },
            {"frame": np.arange(count)},
            {"failures": self.failures.lines()},
        )

    def dump(self) -> dict[str, Any]:
        """Return it as plain data and bytes, for a message."""
        return {
            "nb_frames": self.nb_frames,
            "fates": self._fates.dump(),
            "stamps": self._stamps.dump(),
            "failures": self.failures.dump(),
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Ledger:
        """Return the ledger that was dumped.

        Raises
        ------
        ValueError
            When this is no dump of a ledger.
        """
        try:
            ledger = cls(data["nb_frames"])
            ledger._fates = Fates.load(data["fates"], ledger._fates.table)
            ledger._stamps = Stamps.load(data["stamps"])
            ledger.failures = Failures.load(data["failures"])
        except (LookupError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"this is no dump of a ledger: {error!r}") from error
        return ledger

    def _repr_html_(self) -> str:
        from limadask.views import ledger_html

        return ledger_html(self)
