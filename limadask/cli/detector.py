"""``limadask detector``: what a detector is, can do and how it is, by its own words.

The options of each detector are made from its parameters.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from limadask import registry
from limadask.cli.single import refuse
from limadask.descriptions import descriptions
from limadask.detector import Detector
from limadask.errors import ConfigError, LimadaskError


class Detectors(click.Group):
    """A command for each detector that is installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return sorted(registry.detectors())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of one; None where there is no such detector."""
        try:
            return _command(cmd_name, registry.detector(cmd_name))
        except ConfigError:
            return None


@click.group(cls=Detectors)
def detector() -> None:
    """Say what a detector is, what it can do and how it is now; nothing is changed."""


def _command(name: str, kind: type[Detector]) -> click.Command:
    options: list[click.Parameter] = [
        _option(field, about, descriptions(kind).get(field, ""))
        for field, about in kind.model_fields.items()
    ]
    flag = click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object.")

    def call(as_json: bool, **given: str | None) -> None:
        try:
            told = _told(kind, {field: text for field, text in given.items() if text is not None})
        except ConfigError as error:
            refuse(error, as_json)
        except (OSError, LimadaskError) as error:
            raise click.ClickException(str(error)) from error
        text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, default_flow_style=None)
        click.echo(json.dumps(told) if as_json else text, nl=as_json)

    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    return click.Command(name, params=[*options, flag], callback=call, help=summary)


def _option(field: str, about: FieldInfo, meaning: str) -> click.Option:
    default = about.get_default(call_default_factory=True)
    known = "required" if default is PydanticUndefined else f"default: {default}"
    text = " ".join(meaning.replace("``", "").split())
    return click.Option([f"--{field.replace('_', '-')}", field], metavar="YAML",
                        help=f"{text} [{known}]")  # fmt: skip


def _told(kind: type[Detector], given: dict[str, str]) -> dict[str, Any]:
    """Return what the detector says, as plain data; the values are given as in YAML."""
    found = kind(**{field: _parsed(field, text) for field, text in given.items()})
    found = found.absolute(Path.cwd())
    status = found.status()
    told = {
        "parameters": found,
        "info": found.info(),
        "capabilities": found.capabilities(),
        "status": status,
    }
    plain = {
        name: json.loads(one.model_dump_json(exclude_none=True))  # infinity is no JSON
        for name, one in told.items()
        if one is not None
    }
    limits = {
        name: json.loads(one.model_dump_json(exclude_defaults=True))
        for name, one in found.limits().items()
    }
    return {**plain, "limits": limits} if limits else plain


def _parsed(field: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"is no YAML: {error}", node="detector", field=field, value=text, allowed="YAML"
        ) from error
