"""The page on correlation in time runs as it stands, but for its cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from distributed import Client

from limadask_tasks import MultiTau

PAGE = (Path(__file__).parents[2] / "docs/how-to/xpcs.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_example_runs_and_shows_a_correlation(client: Client) -> None:
    source = block("python")
    source, count = re.subn(r"^client.*\n", "", source, flags=re.MULTILINE)
    assert count == 2
    names: dict[str, Any] = {"client": client}
    exec(compile(source, "docs/how-to/xpcs.md", "exec"), names)
    g2 = names["g2"]
    assert g2["g2"].dims == ("band", "region", "delay")
    assert int(g2["frames"]) == 400
    assert (g2["times"].sel(delay=[1, 2]) == [399, 398]).all()
    assert (g2["g2"].sel(delay=slice(1, 4)) > 0.9).all()


def test_the_configuration_is_one() -> None:
    (node,) = yaml.safe_load(block("yaml"))["pipeline"]
    fields = {key: value for key, value in node.items() if key not in ("name", "task")}
    assert MultiTau(**fields).levels == 8
