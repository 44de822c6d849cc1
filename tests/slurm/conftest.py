"""A real SLURM on this computer: one node that receives, two that process."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from slurm_queue import asked, cancel_all, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "sinfo")
SYSTEM = ("/usr/sbin", "/sbin")
"""Where daemons are; not in everybody's PATH."""
CONFIGURATION = """
ClusterName=limadask
SlurmctldHost=localhost
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
KillWait=2
PartitionName=receivers Nodes=rx1 MaxTime=INFINITE State=UP
PartitionName=compute Nodes=c1,c2 Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4"
NODE += " RealMemory=8000 State=UNKNOWN\n"
NODES = ("rx1", "c1", "c2")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run SLURM; whatever calls its commands finds it by the environment."""
    path = os.pathsep.join((os.environ["PATH"], *SYSTEM))
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(
            f"no {', '.join(missing)} here: apt-get install slurmctld slurmd slurm-client munge"
        )
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("SLURM_CONF", str(configured(folder)))
        patch.setenv("PATH", path)
        munge = folder / "munge"
        socket_file = munge / "socket"
        stack.enter_context(
            daemon(
                folder, "munged", "--foreground", "--force", f"--key-file={munge / 'key'}",
                f"--socket={socket_file}", f"--pid-file={munge / 'pid'}",
                f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
            )
        )  # fmt: skip
        wait_until(socket_file.exists, "munged listens")
        stack.enter_context(daemon(folder, "slurmctld", "-D"))
        for name in NODES:
            stack.enter_context(daemon(folder, "slurmd", "-D", "-N", name))
        stack.callback(cancel_all)
        wait_until(lambda: asked("sinfo", "-h", "-N", "-t", "idle").count("\n") >= 3, "nodes idle")
        yield


@pytest.fixture
def queue(slurm: None) -> Iterator[Callable[..., list[str]]]:
    """Return a function that lists the jobs with a name; no job is left after the test."""

    def jobs(name: str = "") -> list[str]:
        named = ("-n", name) if name else ()
        return asked("squeue", "-h", "-o", "%i", *named).split()

    yield jobs
    cancel_all()


def configured(folder: Path) -> Path:
    """Write the configuration, with ports that are free."""
    for name in ("munge", "state", *NODES):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    ports = free_ports(1 + len(NODES))
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    text = CONFIGURATION.format(folder=folder, user=user, port=ports[0])
    head, partitions = text.split("PartitionName", 1)
    nodes = "".join(
        NODE.format(name=name, port=port) for name, port in zip(NODES, ports[1:], strict=True)
    )
    path = folder / "slurm.conf"
    path.write_text(f"{head}{nodes}PartitionName{partitions}")
    return path


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        some = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in some:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in some]


class daemon(ExitStack):  # noqa: N801 - a context, used like a function
    """A process that runs in the foreground and is ended."""

    def __init__(self, folder: Path, *command: str) -> None:
        super().__init__()
        log = self.enter_context((folder / "daemons.log").open("ab"))
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self.callback(self.end)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
