"""Installing limadask on the scheduler and the workers of a client."""

from __future__ import annotations

from distributed import Client

from limadask.cluster.asking import ANSWER
from limadask.cluster.nanny import LimadaskNanny
from limadask.cluster.scheduler import LimadaskScheduler
from limadask.cluster.worker import LimadaskWorker
from limadask.errors import ConfigError, StalledError

INSTALL = 60.0
"""Seconds that importing limadask may take on the scheduler, and on all workers."""


def install(client: Client) -> None:
    """Install limadask on the scheduler and all workers, now and later.

    Raises
    ------
    ConfigError
        When limadask is not installed there.
    StalledError
        When it takes too long; it names who does not answer.
    """
    for plugin, place in (
        (LimadaskScheduler(), "scheduler"),
        (LimadaskNanny(), "workers"),
        (LimadaskWorker(), "workers"),
    ):
        try:
            client.sync(client.register_plugin, plugin, callback_timeout=INSTALL)
        except (ModuleNotFoundError, ImportError) as error:
            raise ConfigError(
                f"limadask cannot be imported on the {place}: install it there, in the same "
                f"version as here ({error})",
                node="cluster",
                field=place,
                value=client.scheduler.address,
            ) from error
        except TimeoutError as error:
            who = _silent(client) if place == "workers" else client.scheduler.address
            raise StalledError(
                "installing limadask", -1,
                f"no answer from {who} within {INSTALL:.0f} s; check its process and its load",
            ) from error  # fmt: skip


def _silent(client: Client) -> str:
    """Return the names of the workers that Dask has not heard of meanwhile."""
    question = client.scheduler.limadask_silent
    names = client.sync(question, seconds=INSTALL / 2, callback_timeout=ANSWER)
    return ", ".join(names) or "some of the workers"
