"""Clusters on this computer, made for acquisitions."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster

from limadask.cluster.child import Child

SETTINGS: Mapping[str, Any] = {
    "distributed.worker.profile.enabled": False,  # every 10 ms, and sees none of our threads
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.work-stealing": False,  # tickets are pinned
}
"""Dask settings for a cluster that does nothing but acquisitions."""
START_TIMEOUT = 30.0


@contextmanager
def local_client(workers: int = 1, memory_limit: str | int = "auto") -> Iterator[Client]:
    """Run a cluster of real processes on this computer.

    Its scheduler lives in this process, and ends with it.

    Parameters
    ----------
    workers:
        Worker processes; the processor's cores are shared out among them.
    memory_limit:
        Bytes that each may use, ``auto`` for its share, 0 for any number.
    """
    threads = max(1, (cpu_count() or 1) // workers)
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address="127.0.0.1:0",
            memory_limit=memory_limit,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@dataclass
class ProcessCluster:
    """A scheduler and workers, each a process of its own that can be stopped and killed.

    Parameters
    ----------
    address:
        The scheduler's.
    scheduler:
        Its process.
    workers:
        Processes of the workers, by name.
    """

    address: str
    scheduler: Child
    workers: dict[str, Child] = field(default_factory=dict)

    def send(self, name: str, sign: signal.Signals) -> None:
        """Send a signal to a worker."""
        self.workers[name].send_signal(sign)


@contextmanager
def process_cluster(
    workers: int | Mapping[str, Sequence[str]],
    threads: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[ProcessCluster]:
    """Run ``dask scheduler`` and ``dask worker`` as separate processes on loopback.

    Unlike a :class:`LocalCluster` it outlives its client: runs can be detached.

    Parameters
    ----------
    workers, threads:
        How many workers, named ``worker-0``, … (0: others start them), or their names, each with
        more arguments of ``dask worker``; and threads of each.
    settings:
        Dask settings of all processes, over :data:`SETTINGS`.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = {**os.environ, **environment(settings)}

        def start(*arguments: str) -> Child:
            process = Child(*arguments, "--no-dashboard", variables=variables, folder=folder)
            stack.callback(_end, process)
            return process

        file = folder / "scheduler.json"
        listen = ("--host", "127.0.0.1", "--port", "0")
        scheduler = start("distributed.cli.dask_scheduler", *listen, "--scheduler-file", str(file))
        cluster = ProcessCluster(_address(file, scheduler), scheduler)
        named = workers
        if isinstance(named, int):
            named = {f"worker-{number}": () for number in range(named)}
        for name, more in named.items():
            cluster.workers[name] = start(
                "distributed.cli.dask_worker", cluster.address, "--name", name, "--nthreads",
                str(threads), "--no-nanny", "--memory-limit", "0", "--local-directory", str(folder),
                "--host", "127.0.0.1", *more,
            )  # fmt: skip
        if named:
            with Client(cluster.address, timeout=START_TIMEOUT) as client:
                client.wait_for_workers(len(named), timeout=START_TIMEOUT)
        yield cluster


def environment(settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return :data:`SETTINGS`, and others, as environment variables."""
    return {
        "DASK_" + key.upper().replace(".", "__").replace("-", "_"): json.dumps(value)
        for key, value in {**SETTINGS, **(settings or {})}.items()
    }


def _address(file: Path, scheduler: Child) -> str:
    """Wait for the scheduler to write down its address."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if (status := scheduler.poll()) is not None:
            raise RuntimeError(f"the scheduler ended with status {status}")
        try:
            return str(json.loads(file.read_text())["address"])
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.02)
    raise TimeoutError(f"the scheduler did not start within {START_TIMEOUT} s")


def _end(process: Child) -> None:
    process.send_signal(signal.SIGCONT)  # it may have been frozen
    process.kill()
    process.wait()
