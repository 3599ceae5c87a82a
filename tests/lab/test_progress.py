"""What a person who waits sees."""

import time

import pytest

from environments.lab import progress
from environments.lab.errors import LabError
from environments.lab.progress import Progress, duration


def test_a_step_tells_its_beginning_and_its_end() -> None:
    said: list[str] = []
    with Progress(said.append).step("Baking", "Baked"):
        assert said == ["  … Baking"]
    assert said[1].startswith("  ✓ Baked (0.")
    assert len(said) == 2


def test_a_long_step_says_that_it_goes_on_and_stops_saying_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_REMIND_SECONDS", 0.05)
    said: list[str] = []
    with Progress(said.append).step("Baking", "Baked"):
        deadline = time.monotonic() + 10
        while len(said) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert said[1].startswith("  … Baking: 0.")
    assert said[1].endswith(" so far")
    ended = len(said)
    time.sleep(0.2)
    assert len(said) == ended


def test_a_failed_step_claims_no_end() -> None:
    said: list[str] = []
    with pytest.raises(LabError), Progress(said.append).step("Baking", "Baked"):
        raise LabError("no flour")
    assert said == ["  … Baking"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (41.2, "41 s"), (125, "2 min 5 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
