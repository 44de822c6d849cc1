"""One acquisition on the command line, from its start to its summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import click
from distributed import Client
from tqdm import tqdm

from limadask.acquisition.acquisition import Acquisition
from limadask.acquisition.summary import as_text, summary
from limadask.cli.interrupt import interruptible
from limadask.configuration import Configuration
from limadask.errors import ConfigError, LimadaskError, StateError

FAILED, BAD_CONFIG = 1, 2


def run_to_end(
    client: Client,
    configuration: Configuration,
    is_wanted: Callable[[], bool] = lambda: True,
) -> tuple[dict[str, Any], Acquisition]:
    """Run an acquisition with a progress bar; return its summary, also when it failed.

    It is stopped as soon as it has started where it is no longer wanted by then.
    """
    refuse_triggers(configuration)
    acquisition = Acquisition.of(client, configuration)
    failure = ""
    with acquisition:
        acquisition.prepare()
        with interruptible(acquisition):
            try:
                acquisition.start()
                if not is_wanted():
                    with suppress(StateError):  # it may be over already
                        acquisition.stop()
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


def refuse_triggers(configuration: Configuration) -> None:
    """Refuse what needs triggers from the user.

    Raises
    ------
    ConfigError
        Naming the trigger mode.
    """
    if configuration.acquisition.trigger_mode == "software":
        raise ConfigError(
            "the command line gives no triggers: use Python and acq.trigger()",
            node="acquisition",
            field="trigger_mode",
            value="software",
            allowed=["internal", "external", "gate"],
        )


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
    return {
        **head,
        **lists,
        "files": {},
        "elapsed": 0.0,
        "fps": 0.0,
        "failures": [],
        "error": error,
    }
