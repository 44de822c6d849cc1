"""``limadask resources``: what the workers of a cluster use."""

from __future__ import annotations

import json
from collections.abc import Generator
from math import isfinite
from typing import Any

import click
import xarray as xr
from distributed import Client

from limadask.acquisition.live import LiveResources
from limadask.acquisition.resources import resources as ask
from limadask.errors import LimadaskError
from limadask.monitoring.rows import as_text

PATIENCE = 30.0
"""Seconds between two tables at most: the scheduler may take half of them to answer."""


@click.command()
@click.option("--cluster", required=True, help="The address of a scheduler.")
@click.option("--timeout", default=20.0, help="Seconds to wait for that scheduler.")
@click.option("--watch", is_flag=True, help="Print it every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one a line.")
def resources(cluster: str, timeout: float, watch: bool, as_json: bool) -> None:
    """Say what each worker of a cluster uses: memory by stage, processor, disk, queues."""
    try:
        with Client(cluster, timeout=timeout, set_as_default=False) as client:
            for table in watched(client) if watch else [ask(client)]:
                click.echo(json.dumps(_plain(table)) if as_json else as_text(table))
    except (OSError, LimadaskError) as error:
        raise click.ClickException(str(error)) from error


def watched(client: Client) -> Generator[xr.Dataset]:
    """Yield a table every second, until the cluster cannot be asked any more.

    Raises
    ------
    LimadaskError
        Then.
    """
    with LiveResources(client, seconds=float("inf")) as live:
        yield live.latest
        while (table := live.next(PATIENCE)) is not None:
            yield table
        raise LimadaskError(live.note or "the scheduler does not answer")


def _plain(table: xr.Dataset) -> dict[str, Any]:
    """Return a table as plain data by worker; what is not known is null."""
    return {
        str(worker): {str(name): _values(one) for name, one in table.sel(worker=worker).items()}
        for worker in table["worker"].values
    }


def _values(one: xr.DataArray) -> Any:
    """Return a number, or numbers by their label."""
    values = [value if isfinite(value) else None for value in one.values.ravel().tolist()]
    if not one.dims:
        return values[0]
    return dict(zip(one[one.dims[0]].values.tolist(), values, strict=True))
