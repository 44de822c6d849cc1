"""A SLURM job with Dask workers in it; needs dask-jobqueue."""

from __future__ import annotations

from dask_jobqueue.slurm import SLURMJob
from distributed.deploy.spec import ProcessInterface


class LimadaskJob(SLURMJob):  # type: ignore[misc]
    """A job that is known to be closed when it has been cancelled."""

    async def close(self) -> None:
        """Cancel the job; Dask's cluster then insists on a state that jobs never take."""
        await super().close()
        await ProcessInterface.close(self)
