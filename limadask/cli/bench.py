"""``limadask bench``."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import asdict
from importlib.metadata import entry_points

import click

from limadask.cli.interrupt import terminable

GROUP = "limadask.benchmarks"


@click.command()
@click.argument("name")
@click.option("--runs", type=click.IntRange(1), help="How many, where a benchmark can be told.")
@click.option("--seed", type=click.IntRange(0), help="Where it draws from, where it does.")
@click.option("--seconds", type=click.IntRange(1), help="How long, where that can be told.")
@click.option("--sabotage", help="What goes wrong on purpose, to see that it is found.")
@click.option("--part", "parts", multiple=True, help="Only this one, where it has parts; again …")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON.")
def bench(
    name: str,
    runs: int | None,
    seed: int | None,
    seconds: int | None,
    sabotage: str | None,
    parts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the benchmark NAME; the last line is a JSON list of its figures.

    Each figure is {"what", "value", "limit", "ratio", "repeats"}, and more ratio is better.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found))
        click.echo(f"error: there is no benchmark {name!r}; there are: {known}", err=True)
        sys.exit(2)

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    load = found[name].load()
    given = {
        "runs": runs, "seed": seed, "seconds": seconds, "sabotage": sabotage,
        "parts": parts or None,
    }  # fmt: skip
    options = {key: one for key, one in given.items() if one is not None}
    if unknown := sorted(set(options) - set(inspect.signature(load).parameters)):
        click.echo(f"error: {name} knows no option --{unknown[0]}", err=True)
        sys.exit(2)
    with terminable():
        figures = load(say, **options)
    say(f"{'what':18} {'value':>12} {'limit':>12} {'ratio':>8} {'repeats':>8}")
    for one in figures:
        say(f"{one.what:18} {one.value:12.4g} {one.limit:12.4g} {one.ratio:8.3f} {one.repeats:8d}")
    click.echo(json.dumps([asdict(one) for one in figures]))
