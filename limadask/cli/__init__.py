"""The command line: ``limadask …``, also as ``dask lima …``."""

from __future__ import annotations

import logging

import click

from limadask.cli.bench import bench
from limadask.cli.commands import Commands
from limadask.cli.describe import plugins, schema
from limadask.cli.detector import detector
from limadask.cli.native import native
from limadask.cli.recover import recover
from limadask.cli.resources import resources
from limadask.cli.run import check, run
from limadask.version import __version__


@click.group(name="lima", cls=Commands)
@click.version_option(__version__)
@click.option("--verbose", is_flag=True, help="Show what Dask logs.")
def main(verbose: bool) -> None:
    """Acquire and process the images of 2-D detectors on a Dask cluster."""
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.ERROR)


for command in (run, check, recover, resources, bench, schema, plugins, detector, native):
    main.add_command(command)
