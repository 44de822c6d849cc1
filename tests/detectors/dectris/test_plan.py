"""How frames become triggers, and values are checked."""

from __future__ import annotations

from typing import Any

import pytest

from limadask.errors import ConfigError
from limadask.parameters import HardwareParameters
from limadask_detectors.dectris.plan import Plan
from limadask_detectors.dectris.timing import latency
from limadask_detectors.dectris.value import Value


def share(**asked: Any) -> HardwareParameters:
    return HardwareParameters(shape=(4, 4), **asked)


@pytest.mark.parametrize(
    ("asked", "mode", "triggers", "images"),
    [
        ({"nb_frames": 7}, "ints", 1, 7),
        ({"nb_frames": 7, "nb_frames_per_trigger": 2}, "ints", 1, 7),
        ({"nb_frames": 0}, "ints", 1, 100),
        ({"nb_frames": 6, "trigger_mode": "software"}, "ints", 6, 1),
        (
            {"nb_frames": 6, "trigger_mode": "software", "nb_frames_per_trigger": 3},
            "ints", 2, 3,
        ),
        (
            {"nb_frames": 0, "trigger_mode": "software", "nb_frames_per_trigger": 3},
            "ints", 33, 3,
        ),
        (
            {"nb_frames": 6, "trigger_mode": "external", "nb_frames_per_trigger": 6},
            "exts", 1, 6,
        ),
        ({"nb_frames": 5, "trigger_mode": "gate"}, "exte", 5, 1),
        ({"nb_frames": 0, "trigger_mode": "gate"}, "exte", 100, 1),
    ],
)  # fmt: skip
def test_frames_are_divided(asked: dict[str, Any], mode: str, triggers: int, images: int) -> None:
    assert Plan.of(share(**asked), most=100).values == {
        "trigger_mode": mode, "ntrigger": triggers, "nimages": images,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"nb_frames": 7, "trigger_mode": "software", "nb_frames_per_trigger": 3},
            r"acquisition\.nb_frames: .*got 7; allowed: a multiple of 3",
        ),
        (
            {"nb_frames": 6, "trigger_mode": "gate", "nb_frames_per_trigger": 3},
            r"acquisition\.nb_frames_per_trigger: each gate is one frame \(got 3; allowed: 1\)",
        ),
    ],
)
def test_what_does_not_divide_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Plan.of(share(**asked))


@pytest.mark.parametrize(
    ("config", "mode", "triggers", "images"),
    [
        ({"trigger_mode": "ints", "nimages": 5, "ntrigger": 1}, "internal", 1, 5),
        ({"trigger_mode": "ints", "nimages": 5, "ntrigger": 2}, "software", 2, 5),
        ({"trigger_mode": "exts", "nimages": 5, "ntrigger": 2}, "external", 2, 5),
        ({"trigger_mode": "exte", "nimages": 5, "ntrigger": 2}, "gate", 2, 1),
        ({"trigger_mode": "inte", "nimages": 5, "ntrigger": 2}, "gate", 2, 1),
    ],
)
def test_what_others_have_set_is_understood(
    config: dict[str, Any], mode: str, triggers: int, images: int
) -> None:
    found = Plan.found(config)
    assert (found.mode, found.triggers, found.images) == (mode, triggers, images)


def test_the_pause_is_free_of_the_noise_of_binary_fractions() -> None:
    assert latency(0.02, 0.021) == 0.001
    assert latency(0.5, 0.4) == 0.0


@pytest.mark.parametrize(
    ("about", "good", "bad", "allowed"),
    [
        ({"min": 1, "max": 9, "unit": "s"}, 9, 9.5, "1 to 9 s"),
        ({"min": 1}, 1e9, 0.5, "1 to any"),
        ({"allowed_values": ["a", "b"]}, "b", "c", "a, b"),
        ({"access_mode": "r"}, 5, 6, "5, as it is"),
    ],
)
def test_a_value_is_held_against_what_the_detector_says(
    about: dict[str, Any], good: Any, bad: Any, allowed: str
) -> None:
    value = Value.answered({"value": 5, **about})
    value.check("field", "its_name", good)
    with pytest.raises(ConfigError) as told:
        value.check("field", "its_name", bad)
    assert "its_name" in told.value.message
    assert (told.value.value, told.value.allowed) == (bad, allowed)


def test_true_is_no_number() -> None:
    Value.answered({"value": False, "min": 5}).check("field", "its_name", True)
