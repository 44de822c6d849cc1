"""The parameters of the detector say what they are, and refuse what they are not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Annotated, Any

import pytest

from limadask.errors import ConfigError
from limadask_detectors import Dectris
from limadask_detectors.dectris.key import Key
from limadask_detectors.dectris.settings import settings_of
from limadask_detectors.dectris.status import DectrisStatus


def test_every_field_says_what_it_is() -> None:
    for model in (Dectris, DectrisStatus):
        properties = model.model_json_schema()["properties"]
        assert len(properties) > 10
        assert {name for name, about in properties.items() if not about.get("description")} == set()


def test_only_the_host_must_be_given() -> None:
    detector = Dectris(host="eiger")
    assert Dectris.model_json_schema()["required"] == ["host"]
    assert (detector.port, detector.stream, detector.passive) == (80, "stream2", False)
    assert settings_of(detector) == []


def test_a_field_is_set_by_its_name_in_the_api() -> None:
    detector = Dectris(
        host="eiger", photon_energy=12400, threshold_energies=(6200, 18600), beam_centre=(3, 5),
        header_detail="all", pixel_mask=False,
    )  # fmt: skip
    told = {(one.part, one.name): one.value for one in settings_of(detector)}
    assert told == {
        ("stream", "header_detail"): "all",
        ("detector", "photon_energy"): 12400.0,
        ("detector", "threshold/1/energy"): 6200.0,
        ("detector", "threshold/2/energy"): 18600.0,
        ("detector", "pixel_mask_applied"): False,
        ("detector", "beam_center_y"): 3.0,
        ("detector", "beam_center_x"): 5.0,
    }


def test_a_parameter_more_costs_one_line() -> None:
    class Beamline(Dectris):
        sample_name: Annotated[str | None, Key("sample_name")] = None
        """Name of the sample."""

    told = [(one.name, one.value) for one in settings_of(Beamline(host="a", sample_name="lyso"))]
    assert told == [("sample_name", "lyso")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, r"host: Field required"),
        ({"host": ""}, r"host: .*at least 1"),
        ({"host": "a", "port": 0}, r"port: .*got 0; allowed: ≥ 1"),
        ({"host": "a", "stream": "v3"}, r"stream: .*got v3; allowed: 'v1' or 'stream2'"),
        ({"host": "a", "timeout": 0}, r"timeout: .*got 0; allowed: > 0"),
        ({"host": "a", "photon_energy": -1}, r"photon_energy: .*got -1"),
        ({"host": "a", "threshold_energies": []}, r"threshold_energies: .*at least 1"),
        ({"host": "a", "channels": ["threshold_9"]}, r"channels.*threshold_9"),
        ({"host": "a", "compression": "zip"}, r"compression: .*'bslz4', 'lz4' or 'none'"),
        ({"host": "a", "energy": 5}, r"Dectris has no field 'energy'.*beam_centre"),
    ],
)
def test_mistakes_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Dectris(**fields)


def test_it_is_plain_data() -> None:
    detector = Dectris(host="eiger", channels=("threshold_1",), beam_centre=(1, 2))
    assert pickle.loads(pickle.dumps(detector)) == detector
    assert Dectris.model_validate_json(detector.model_dump_json()) == detector


def test_its_packages_are_imported_when_they_are_used() -> None:
    program = (
        "import sys; from limadask_detectors import Dectris; Dectris(host='eiger'); "
        "print(sorted({'httpx', 'zmq', 'cbor2', 'dectris'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
