"""``limadask schema`` and ``limadask plugins``."""

from __future__ import annotations

import json
from typing import Any

import click

from limadask import registry
from limadask.schema import schema as make_schema


@click.command()
def schema() -> None:
    """Print the JSON schema of the YAML files, all installed plugins included."""
    click.echo(json.dumps(make_schema(), indent=2))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def plugins(as_json: bool) -> None:
    """List the detectors, tasks and allocators that are installed."""
    found: dict[str, dict[str, Any]] = {
        "detectors": {name: _line(one) for name, one in registry.detectors().items()},
        "tasks": {name: _line(one) for name, one in registry.tasks().items()},
        "allocators": {name: _line(one) for name, one in registry.allocators().items()},
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    for kind, names in found.items():
        click.echo(f"{kind}:")
        for name, line in names.items():
            click.echo(f"  {name:16} {line}")


def _line(plugin: type[Any]) -> str:
    return (plugin.__doc__ or "").strip().split("\n")[0].replace("``", "")
