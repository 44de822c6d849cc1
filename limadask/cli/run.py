"""``limadask run`` and ``limadask check``."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, NoReturn

import click
from distributed import Client
from tqdm import tqdm

from limadask.acquisition.acquisition import Acquisition
from limadask.acquisition.check import check as check_configuration
from limadask.acquisition.summary import as_text, summary
from limadask.cluster.local import local_client
from limadask.cluster.slurm import slurm_client
from limadask.configuration import Configuration
from limadask.errors import ConfigError, LimadaskError, StateError

FAILED, BAD_CONFIG = 1, 2


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--cluster",
    default="local",
    help="'local', the address of a scheduler, or a YAML file that says which SLURM jobs to run.",
)
@click.option("--workers", type=click.IntRange(1), help="Workers of the local cluster.")
@click.option("--timeout", default=20.0, help="Seconds to wait for that scheduler.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def run(file: str, cluster: str, workers: int | None, timeout: float, as_json: bool) -> None:
    """Run the acquisition that FILE describes.

    Ends with 0 when it ended within its policy, 1 when it failed, 2 when FILE is no good.
    """
    try:
        configuration = Configuration.load(file)
        needed = workers or configuration.topology.nb_workers
        with connect(cluster, needed, timeout) as client:
            told, _ = run_to_end(client, configuration)
    except ConfigError as error:
        refuse(error, as_json)
    except (OSError, LimadaskError) as error:
        told = nothing_done(str(error))
    report(told, as_json)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print errors as JSON.")
def check(file: str, as_json: bool) -> None:
    """Say what FILE would do here, or what is wrong with it."""
    try:
        ready = check_configuration(Configuration.load(file))
    except ConfigError as error:
        refuse(error, as_json)
    software = ready.software
    click.echo(f"detector: {ready.hardware.shape} {ready.hardware.dtype}, {ready.hardware.bands}")
    for node in (*software.before_input, *software.nodes):
        click.echo(f"{node.name} ({node.task}) after {', '.join(node.after)}: {node.output or '—'}")
    click.echo(
        f"blocks of {software.nb_frames_per_block} frames, {software.nb_slots} in the pool "
        f"({software.pool_nbytes / 2**20:.0f} MiB)"
    )
    for name, path in ready.files.items():
        click.echo(f"{name} → {path}")


def run_to_end(client: Client, configuration: Configuration) -> tuple[dict[str, Any], Acquisition]:
    """Run an acquisition with a progress bar; return its summary, also when it failed."""
    if configuration.acquisition.trigger_mode == "software":
        raise ConfigError(
            "the command line gives no triggers: use Python and acq.trigger()",
            node="acquisition",
            field="trigger_mode",
            value="software",
            allowed=["internal", "external", "gate"],
        )
    acquisition = Acquisition.of(client, configuration)
    failure = ""
    with acquisition:
        acquisition.prepare()
        with interruptible(acquisition):
            try:
                acquisition.start()
                show_progress(acquisition)
            except ConfigError:
                raise
            except LimadaskError as error:
                failure = str(error)
    told = summary(acquisition)
    if failure:
        told["state"], told["error"] = "failed", told["error"] or failure
    return told, acquisition


def show_progress(acquisition: Acquisition) -> None:
    """Wait for the end; show frames done on stderr."""
    asked = acquisition.parameters.user.nb_frames
    with tqdm(total=asked or None, unit="frames", file=sys.stderr) as bar:

        def update(status: dict[str, Any]) -> None:
            bar.set_postfix_str(f"{status['received']} received", refresh=False)
            bar.update(status["processed"] - bar.n)

        acquisition.wait(told=update)


@contextmanager
def interruptible(acquisition: Acquisition) -> Iterator[None]:
    """Let Ctrl-C stop the acquisition after this frame, and abort it the second time."""
    commands: list[Callable[[], None]] = [acquisition.stop, acquisition.abort]

    def interrupt(_: int, frame: FrameType | None) -> None:
        if not commands:
            raise KeyboardInterrupt
        try:
            commands.pop(0)()
        except StateError:
            commands.clear()  # it is ending by itself

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def connect(cluster: str, workers: int, timeout: float) -> AbstractContextManager[Client]:
    """Return a client of a local cluster, of one that runs, or of SLURM jobs."""
    if cluster == "local":
        return local_client(workers)
    if cluster.endswith((".yaml", ".yml")):
        return slurm_client(cluster)
    client: AbstractContextManager[Client] = Client(cluster, timeout=timeout)
    return client


def report(told: dict[str, Any], as_json: bool) -> NoReturn:
    """Print the summary and end with its exit status."""
    click.echo(as_text(told), err=as_json)
    if as_json:
        click.echo(json.dumps(told))
    sys.exit(FAILED if told["state"] == "failed" else 0)


def refuse(error: ConfigError, as_json: bool) -> NoReturn:
    """Print what is wrong with the configuration and end."""
    click.echo(f"error: {error}", err=True)
    if as_json:
        click.echo(json.dumps({"error": error.to_dict()}, default=str))
    sys.exit(BAD_CONFIG)


def nothing_done(error: str) -> dict[str, Any]:
    """Return the summary of a run that could not begin."""
    frames = dict.fromkeys(("present", "partial", "absent", "vetoed"), 0)
    lists: dict[str, Any] = {name: [] for name in ("absent", "partial", "vetoed")}
    head = {"uuid": None, "state": "failed", "nb_frames": 0, "frames": frames}
    return {**head, **lists, "files": {}, "elapsed": 0.0, "fps": 0.0, "error": error}
