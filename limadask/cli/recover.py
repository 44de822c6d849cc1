"""``limadask recover``."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from limadask.cli.single import FAILED, refuse
from limadask.errors import ConfigError
from limadask.storage import rescue


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Take all writers for dead without looking.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def recover(folder: Path, force: bool, as_json: bool) -> None:
    """Make the master files of runs in FOLDER that died before their end.

    Every frame that was flushed is there; all others are absent, with their cause.
    """
    try:
        done = rescue(folder, force)
    except ConfigError as error:
        refuse(error, as_json)
    except OSError as error:
        click.echo(f"error: {error}", err=True)
        if as_json:
            click.echo(
                json.dumps({"recovered": [], "empty": [], "damaged": {}, "error": str(error)})
            )
        sys.exit(FAILED)
    for path in done.empty:
        click.echo(f"{path} is empty: its writer died while it began it", err=True)
    for path, why in done.damaged.items():
        click.echo(f"error: {path} is left out: {why}", err=True)
    for one in done.made:
        counts = ", ".join(f"{count} {fate}" for fate, count in one.frames.items() if count)
        click.echo(f"{one.path}::/{one.entry}: {counts}", err=as_json)
    if not (done.made or done.damaged):
        click.echo("nothing to recover: every run has its master", err=as_json)
    if as_json:
        found = [dataclasses.asdict(one) for one in done.made]
        left_out = {"empty": done.empty, "damaged": done.damaged}
        click.echo(json.dumps({"recovered": found, **left_out, "error": None}))
    if done.damaged:
        sys.exit(FAILED)
