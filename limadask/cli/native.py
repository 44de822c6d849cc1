"""``limadask native``."""

from __future__ import annotations

import click

from limadask.native import include_folder


@click.command()
@click.option("--includes", is_flag=True, required=True, help="Print the option -I… for compilers.")
def native(includes: bool) -> None:
    """Tell what compilers need for tasks written in C or C++."""
    click.echo(f"-I{include_folder()}")
