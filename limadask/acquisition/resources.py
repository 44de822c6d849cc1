"""What the workers of a cluster use."""

from __future__ import annotations

import xarray as xr
from distributed import Client

from limadask.cluster.link import Link
from limadask.monitoring.table import table


def resources(client: Client) -> xr.Dataset:
    """Return what each worker uses now, dims ``worker``, ``stage`` and ``node``.

    Of memory for frames, by worker and stage, in bytes: ``allocated``, ``in_use``, ``high_water``,
    the most that was in use, and ``allocation_rate``, B/s; ``on_disk``, frames in files, and
    ``allocator``, the names of where it comes from. Of a worker's process: ``cpu`` (cores),
    ``memory`` and its ``memory_limit`` (B), ``disk_read`` and ``disk_write`` (B/s); of its whole
    computer: ``network_received`` and ``network_sent`` (B/s). Of its queues: ``blocks_held``,
    received and without a receipt, ``blocks_queued``, which wait for a thread, ``tickets``, which
    wait for a block, ``threads_busy`` and ``threads``. ``seconds`` is how long each node has worked
    there, of all acquisitions.

    Rates are means over the last second or two. What is not known is NaN; a worker that does not
    answer within two seconds has the coordinate ``answers`` False, and NaN everywhere.

    Parameters
    ----------
    client:
        Client of any Dask cluster; limadask is installed there if it is not yet.

    Raises
    ------
    LimadaskError
        When the scheduler cannot be reached.
    """
    return table(Link.of(client).ask("resources"))
