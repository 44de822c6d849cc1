"""The same acquisition again and again: ``limadask run --repeat``."""

from __future__ import annotations

from itertools import count
from typing import Any

import click
from distributed import Client

from limadask.acquisition.summary import as_text
from limadask.cli.interrupt import noted
from limadask.cli.single import run_to_end
from limadask.configuration import Configuration
from limadask.errors import ConfigError
from limadask.task import Sink


def check_repeated(configuration: Configuration) -> None:
    """Refuse files that the second run would find in its way.

    Raises
    ------
    ConfigError
        Naming the saver.
    """
    for node in configuration.pipeline:
        policy = getattr(node.task, "file_exists_policy", "append")
        if isinstance(node.task, Sink) and policy != "append":
            raise ConfigError(
                "every run is added to the same files when it is repeated",
                node=node.name, field="file_exists_policy", value=policy, allowed=["append"],
            )  # fmt: skip


def run_repeatedly(client: Client, configuration: Configuration) -> list[dict[str, Any]]:
    """Run an acquisition until the user stops it; return the summaries.

    One that fails on its way is told, and the next begins: a bad series is no reason to miss those
    after it. One that cannot be prepared ends it.
    """
    told: list[dict[str, Any]] = []
    with noted() as interrupted:
        for number in count(1):
            summary, _ = run_to_end(client, configuration, is_wanted=lambda: not interrupted)
            click.echo(f"run {number}: {as_text(summary)}", err=True)
            told.append(summary)
            if interrupted or summary["state"] == "stopped":
                return told
    return told
