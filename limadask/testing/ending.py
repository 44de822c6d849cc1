"""When receivers that see no end may be stopped, as the core does it."""

from __future__ import annotations

import time

from limadask.engine.receivers import END_GRACE


class Ending:
    """Looks at a run from time to time.

    Parameters
    ----------
    nb_frames:
        Frames of the run, 0 where there is no last one.
    is_dealt:
        Whether several receivers share the frames as they come: then one alone sees the end.
    """

    def __init__(self, nb_frames: int, is_dealt: bool) -> None:
        self._nb_frames, self._is_dealt = nb_frames, is_dealt
        self._taken, self._moved = -1, 0.0

    def is_due(self, taken: int, is_over: bool) -> bool:
        """Tell whether those that still receive are to be stopped.

        Parameters
        ----------
        taken:
            Frames that all have taken.
        is_over:
            Whether one has seen the end, or the detector says that it is over.
        """
        if self._is_dealt and 0 < self._nb_frames <= taken:
            return True
        if not is_over or taken != self._taken:
            self._taken, self._moved = taken, time.monotonic()
        return is_over and time.monotonic() - self._moved > END_GRACE
