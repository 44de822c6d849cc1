"""What became of each frame of a saver, as its master file tells."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import Status
from limadask.ledger import Ledger
from limadask.storage.parts import Contents


def saved_fates(
    contents: Contents, ledger: Ledger, count: int, nb_merged: int
) -> tuple[NDArray[np.uint8], NDArray[np.bytes_]]:
    """Return status and cause of each saved frame; the files win over the ledger.

    Parameters
    ----------
    contents:
        What is in the data files.
    ledger:
        What became of the detector's frames.
    count:
        Saved frames there should be.
    nb_merged:
        Frames of the detector that each of them stands for.
    """
    causes = _Causes(ledger, count, nb_merged)
    status = np.where(causes.vetoed, np.uint8(Status.VETOED), np.uint8(Status.ABSENT))
    status[contents.numbers] = contents.status
    for number, cause in contents.causes.items():
        causes.put(np.array([number]), cause)
    # acknowledged, and not there, or not whole: no frame is without a cause
    for fate, cause in ((Status.ABSENT, "file_lost"), (Status.PARTIAL, "detector")):
        numbers = np.flatnonzero(status == fate)
        causes.put(numbers[causes.are_empty(numbers)], cause)
    causes.put(np.flatnonzero(status == Status.PRESENT), "")
    return status, causes.encoded()


class _Causes:
    """The cause of each saved frame: at first, of the first of its frames that is not present."""

    def __init__(self, ledger: Ledger, count: int, nb_merged: int) -> None:
        status, codes, self._texts = ledger.columns(count * nb_merged)
        fates = status.reshape(count, nb_merged)
        telling = (fates != Status.PRESENT).argmax(axis=1)
        self._codes = codes.reshape(count, nb_merged)[np.arange(count), telling].astype(np.intp)
        self.vetoed = (fates == Status.VETOED).any(axis=1)

    def put(self, numbers: NDArray[np.int64], cause: str) -> None:
        """Give frames a cause."""
        if cause not in self._texts:
            self._texts.append(cause)
        self._codes[numbers] = self._texts.index(cause)

    def are_empty(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which frames have no cause."""
        empty = [code for code, text in enumerate(self._texts) if not text]
        return np.isin(self._codes[numbers], empty)

    def encoded(self) -> NDArray[np.bytes_]:
        """Return the causes as HDF5 takes them."""
        encoded = [text.encode() for text in self._texts]
        longest = max(len(encoded[code]) for code in [0, *np.unique(self._codes).tolist()])
        kind = h5py.string_dtype("utf-8", max(1, longest))
        return np.asarray(np.array(encoded, kind)[self._codes])
