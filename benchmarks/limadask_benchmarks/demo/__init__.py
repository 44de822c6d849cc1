"""``limadask demo``: a simulated EIGER2 1M through a whole pipeline into NeXus files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import xarray as xr

from limadask.cli.single import refuse, report, run_to_end
from limadask.cluster.local import local_client
from limadask.configuration import Configuration
from limadask.errors import ConfigError
from limadask_benchmarks.demo.inputs import DISK_NBYTES, MEMORY, write_inputs
from limadask_benchmarks.demo.picture import draw


@click.command()
@click.option(
    "--output", default="limadask-demo", show_default=True,
    type=click.Path(file_okay=False, path_type=Path), help="Folder for everything it makes.",
)  # fmt: skip
@click.option("--frames", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def demo(output: Path, frames: int, as_json: bool) -> None:
    """Simulate an EIGER2 1M, process its frames on a local cluster, save, and draw a picture.

    Leaves mask.h5, flat.h5, demo.yaml, the NeXus files and demo.png in the output folder.
    """
    try:
        check_disk(output, frames)
        configuration = Configuration.load(write_inputs(output.absolute(), frames))
        with local_client(1, memory_limit=MEMORY) as client:
            told, acquisition = run_to_end(client, configuration)
            statistics = acquisition.data["stats"]
    except ConfigError as error:
        refuse(error, as_json)
    told["picture"] = str(picture_of(output.absolute(), told, statistics))
    say_sizes(output, as_json)
    click.echo(f"picture: {told['picture']}", err=as_json)
    report(told, as_json)


def check_disk(output: Path, frames: int) -> None:
    """Refuse to begin where the files will not fit.

    Raises
    ------
    ConfigError
        Naming the folder and what is needed.
    """
    folder = next(one for one in (output.absolute(), *output.absolute().parents) if one.exists())
    needed = DISK_NBYTES * max(frames, 100) // 1000
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{folder} has {free >> 20} MiB free, the demo needs {needed >> 20}",
            node="demo",
            field="output",
            value=str(output),
            allowed=f"a folder with {needed >> 20} MiB free",
        )


def picture_of(folder: Path, told: dict[str, Any], statistics: xr.Dataset) -> Path:
    """Draw what was measured, in detector coordinates."""
    path = folder / "demo.png"
    draw(path, Path(told["files"]["raw"]), statistics)
    return path


def say_sizes(folder: Path, as_json: bool) -> None:
    """Say how much was written."""
    for prefix in ("raw", "corrected"):
        files = list(folder.glob(f"{prefix}_*.h5"))
        size = sum(path.stat().st_size for path in files)
        click.echo(f"{prefix}: {len(files)} files, {size / 1e6:.0f} MB", err=as_json)
