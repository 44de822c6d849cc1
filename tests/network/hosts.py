"""Hosts with addresses of their own: network namespaces on one bridge.

Run by ``unshare``, see ``test_hosts.py``: all of it ends with this process, and nothing outside is
touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from distributed import Client

from limadask.cluster.local import environment

HERE = "10.77.0.1"
PORT = 8786
BOUND = 60.0
SETTINGS = {"limadask.worker-stale-after": 3.0}


def ip(*arguments: str) -> None:
    """Set the network up."""
    subprocess.run(["ip", *arguments], check=True)


def make_network(names: list[str]) -> None:
    """Make a bridge, which is this host, and a host on it for each name."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    ip("link", "set", "lo", "up")
    ip("link", "add", "bridge", "type", "bridge")
    ip("address", "add", f"{HERE}/24", "dev", "bridge")
    ip("link", "set", "bridge", "up")
    for number, name in enumerate(names, start=11):
        ip("netns", "add", name)
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", name, "master", "bridge", "up")
        ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", "eth0", "up")


def cut(name: str) -> None:
    """Cut the link of a host: nothing is refused, nothing arrives."""
    ip("link", "set", name, "down")


def mend(name: str) -> None:
    """Let the link carry again."""
    ip("link", "set", name, "up")


@contextmanager
def hosts(
    names: list[str], folder: Path, settings: Mapping[str, Any] | None = None
) -> Iterator[tuple[Client, Callable[[str], None]]]:
    """Run ``dask scheduler`` and a client here, and ``dask worker`` on each host.

    ``settings`` are Dask's, of all these processes. Yields the client, and what starts a worker on
    a host again.
    """
    make_network(names)
    variables = {**os.environ, **environment({**SETTINGS, **(settings or {})})}
    with ExitStack() as stack:

        def start(*command: str) -> None:
            log = stack.enter_context((folder / "processes.log").open("ab"))
            process = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGKILL)

        python = [sys.executable, "-m"]
        start(
            *python, "distributed.cli.dask_scheduler", "--host", HERE, "--port", str(PORT),
            "--no-dashboard",
        )  # fmt: skip

        def start_worker(name: str) -> None:
            start(
                "ip", "netns", "exec", name, *python, "distributed.cli.dask_worker",
                f"tcp://{HERE}:{PORT}", "--name", name, "--nthreads", "1", "--no-nanny",
                "--memory-limit", "0", "--interface", "eth0", "--no-dashboard",
                "--local-directory", str(folder),
            )  # fmt: skip

        for name in names:
            start_worker(name)
        with Client(f"tcp://{HERE}:{PORT}", timeout=BOUND) as client:
            client.wait_for_workers(len(names), timeout=BOUND)
            yield client, start_worker


def tell(**found: object) -> None:
    """Print the result as the last line."""
    print(json.dumps(found), flush=True)
