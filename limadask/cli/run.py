"""``limadask run`` and ``limadask check``."""

from __future__ import annotations

from contextlib import AbstractContextManager

import click
from distributed import Client

from limadask.acquisition.batch import Processing
from limadask.acquisition.check import check as check_configuration
from limadask.cli.repeated import check_repeated, run_repeatedly
from limadask.cli.several import load_all, report_all, run_all
from limadask.cli.single import nothing_done, refuse, report, run_to_end
from limadask.cluster.local import local_client
from limadask.cluster.slurm import slurm_client
from limadask.configuration import Configuration
from limadask.errors import ConfigError, LimadaskError


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option(
    "--cluster",
    default="local",
    help="'local', the address of a scheduler, or a YAML file that says which SLURM jobs to run.",
)
@click.option("--workers", type=click.IntRange(1), help="Workers of the local cluster.")
@click.option("--timeout", default=20.0, help="Seconds to wait for that scheduler.")
@click.option(
    "--processing",
    type=click.Choice(["live", "deferred"]),
    default="live",
    help="Process frames as they come, or hold them until the last acquisition is acquired.",
)
@click.option(
    "--repeat",
    is_flag=True,
    help="Run FILE again and again until Ctrl-C: series after series of a detector that others "
    "start.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def run(
    files: tuple[str, ...],
    cluster: str,
    workers: int | None,
    timeout: float,
    processing: Processing,
    repeat: bool,
    as_json: bool,
) -> None:
    """Run the acquisition that FILE describes, or several one after the other.

    Ends with 0 when all ended within their policy, 1 when one failed, 2 when a FILE is no good:
    then none is begun.
    """
    is_single = len(files) == 1 and processing == "live"
    if repeat and not is_single:
        raise click.UsageError("--repeat takes one FILE, and --processing live")
    try:
        if is_single:
            configurations = [Configuration.load(files[0])]
            if repeat:
                check_repeated(configurations[0])
        else:
            configurations = load_all(files, cluster == "local")
        needed = workers or max(one.topology.nb_workers for one in configurations)
        with connect(cluster, needed, timeout) as client:
            if repeat:
                told = run_repeatedly(client, configurations[0])
            elif is_single:
                told = [run_to_end(client, configurations[0])[0]]
            else:
                told = run_all(client, configurations, processing)
    except ConfigError as error:
        refuse(error, as_json)
    except (OSError, LimadaskError) as error:
        told = [nothing_done(str(error)) for _ in files]
    if len(told) == 1:
        report(told[0], as_json)
    report_all(files if len(files) == len(told) else files * len(told), told, as_json)


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


def connect(cluster: str, workers: int, timeout: float) -> AbstractContextManager[Client]:
    """Return a client of a local cluster, of one that runs, or of SLURM jobs."""
    if cluster == "local":
        return local_client(workers)
    if cluster.endswith((".yaml", ".yml")):
        return slurm_client(cluster)
    client: AbstractContextManager[Client] = Client(cluster, timeout=timeout)
    return client
