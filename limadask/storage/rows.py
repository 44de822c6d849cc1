"""How many frames an entry of a data file holds, whatever is saved of them."""

from __future__ import annotations

import h5py

from limadask.storage.entry import DETECTOR, table_of
from limadask.storage.product_entry import rows_of_products
from limadask.storage.run_entry import WHOLE_RUN


def rows_of(entry: h5py.Group) -> int:
    """Return how many frames are there with all that is told of them."""
    if WHOLE_RUN in entry.attrs:
        return 0
    if DETECTOR in entry:
        return min(len(one) for one in table_of(entry).values())
    return rows_of_products(entry)
