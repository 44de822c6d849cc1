"""``limadask bench`` ends what it has started, however it is told to end."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

ENDLESS = """
import sys
from threading import Event
from types import SimpleNamespace

from limadask.cli import main
from limadask.cluster.local import process_cluster


def endless(say):
    with process_cluster(1) as cluster:
        say(f"{cluster.scheduler.pid} {cluster.workers['worker-0'].pid}")
        Event().wait()


if __name__ == "__main__":
    there = [SimpleNamespace(name="endless", load=lambda: endless)]
    sys.modules["limadask.cli.bench"].entry_points = lambda group: there
    main(["bench", "endless"])
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_benchmark_that_is_told_to_end_leaves_no_process(sign: signal.Signals) -> None:
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        try:
            assert len(started) == 2
            process.send_signal(sign)
            process.communicate(timeout=60)
            _, left = psutil.wait_procs(started, timeout=30)
        finally:
            process.kill()
            for one in started:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
    assert process.returncode == 1
    assert not left
