"""Several files as one batch: ``limadask run A.yaml B.yaml``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from distributed import Client
from tqdm import tqdm

from limadask.acquisition.acquisition import Acquisition
from limadask.acquisition.batch import Batch, Processing
from limadask.acquisition.check import check
from limadask.acquisition.summary import as_text, summary
from limadask.cli.interrupt import interruptible
from limadask.cli.single import FAILED, refuse_triggers
from limadask.configuration import Configuration
from limadask.errors import ConfigError, LimadaskError
from limadask.task import Sink


def load_all(files: Sequence[str], is_local: bool) -> list[Configuration]:
    """Read all files, and find the mistakes that can be found before anything starts.

    Parameters
    ----------
    files:
        Paths of YAML files.
    is_local:
        Whether they will run on this computer: then what they name is looked at, too.

    Raises
    ------
    ConfigError
        Naming the file.
    """
    found, owners = list[Configuration](), dict[str, str]()
    for file in files:
        try:
            configuration = Configuration.load(file)
            refuse_triggers(configuration)
            if is_local:
                check(configuration)
            _refuse_same_files(configuration, file, owners)
        except ConfigError as error:
            raise error.within(file) from error
        found.append(configuration)
    return found


def _refuse_same_files(configuration: Configuration, file: str, owners: dict[str, str]) -> None:
    """Refuse to write where an acquisition before writes, unless it is to be added to that."""
    for node in configuration.pipeline:
        path = node.task.path() if isinstance(node.task, Sink) else None
        if path is None:
            continue
        other = owners.setdefault(path, file)
        if other != file and getattr(node.task, "file_exists_policy", None) != "append":
            raise ConfigError(
                f"writes the same files as {other}", node=node.name, field="prefix", value=path,
                allowed="another folder or prefix, or file_exists_policy: append",
            )  # fmt: skip


def run_all(
    client: Client, configurations: Sequence[Configuration], processing: Processing
) -> list[dict[str, Any]]:
    """Run acquisitions one after the other with a progress bar; return their summaries."""
    batch, failure = Batch(client, processing), ""
    for one in configurations:
        batch.add(Acquisition.of(client, one))
    with batch:
        batch.start()
        with interruptible(batch):
            try:
                _show_progress(batch)
            except LimadaskError as error:  # each summary tells its own
                failure = str(error)
    told = [summary(one) for one in batch]
    if failure and not any(one["error"] for one in told):  # the batch itself stood still
        told = [{**one, "state": "failed", "error": failure} for one in told]
    return told


def report_all(files: Sequence[str], told: Sequence[dict[str, Any]], as_json: bool) -> NoReturn:
    """Print all summaries; end with the exit status of the worst."""
    for file, one in zip(files, told, strict=True):
        click.echo(f"{file}: {as_text(one)}", err=as_json)
    if as_json:
        named = [{"file": file, **one} for file, one in zip(files, told, strict=True)]
        click.echo(json.dumps({"acquisitions": named}))
    sys.exit(FAILED if any(one["state"] == "failed" for one in told) else 0)


def _show_progress(batch: Batch) -> None:
    """Wait for the end; show frames done on stderr."""
    asked = [one.parameters.user.nb_frames for one in batch]
    with tqdm(total=sum(asked) if all(asked) else None, unit="frames", file=sys.stderr) as bar:

        def update(runs: list[dict[str, Any]]) -> None:
            acquired = sum(bool(run["acquired"]) for run in runs)
            bar.set_postfix_str(f"{acquired} of {len(runs)} acquired", refresh=False)
            bar.update(sum(run["processed"] for run in runs) - bar.n)

        batch.wait(told=update)
