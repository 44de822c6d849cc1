"""``limadask detector``: options and answers come from the detector's own model."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner, Result

from limadask import registry
from limadask.cli import main
from limadask.descriptions import descriptions


def limadask(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_every_parameter_is_an_option_with_its_meaning() -> None:
    listed = limadask("detector", "--help").stdout
    for name, kind in registry.detectors().items():
        assert name in listed
        shown = " ".join(limadask("detector", name, "--help").stdout.split())
        for field in kind.model_fields:
            assert f"--{field.replace('_', '-')} YAML" in shown
            first = " ".join(descriptions(kind)[field].replace("``", "").split())[:30]
            assert first in shown, field


@pytest.mark.parametrize("as_json", [False, True])
def test_a_detector_tells_what_it_is(as_json: bool) -> None:
    done = limadask(
        "detector", "simulator", "--shape", "[64, 48]", "--bands", "[low, high]",
        *(["--json"] if as_json else []),
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout) if as_json else yaml.safe_load(done.stdout)
    assert told["info"]["shape"] == [64, 48]
    assert told["info"]["bands"] == ["low", "high"]
    assert "software" in told["capabilities"]["trigger_modes"]
    assert told["parameters"]["photons"] == 0.1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--shape", "[64]"], "shape"),
        (["--photons", "-1"], "photons"),
        (["--shape", "[64"], "is no YAML"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], text: str) -> None:
    done = limadask("detector", "simulator", *options)
    assert done.exit_code == 2
    assert text in done.stderr


def test_a_detector_that_is_not_installed_is_no_command() -> None:
    done = limadask("detector", "nonesuch")
    assert done.exit_code == 2
    assert "No such command 'nonesuch'" in done.stderr
