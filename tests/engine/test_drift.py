"""Who moved since the last run, and what is drift."""

from __future__ import annotations

import pytest

from migrations_app.engine.drift import Drift, How, Moved, drifts, who_moved


@pytest.mark.parametrize(
    ("wanted", "present", "moved"),
    [
        ("w", "p", Moved.NEITHER),
        ("w2", "p", Moved.SOURCE),
        ("w", "p2", Moved.TARGET),
        ("w2", "p2", Moved.BOTH),
        ("w", "w", Moved.TARGET),  # somebody set right what the import had left otherwise
    ],
)
def test_who_moved(wanted: str, present: str, moved: Moved) -> None:
    assert who_moved(wanted=wanted, present=present, base_wanted="w", base_present="p") == moved


@pytest.mark.parametrize(
    ("base", "now", "found"),
    [
        ("a", "a", None),
        ("a", "b", How.CHANGED),
        ("a", None, How.DELETED),
        (None, "b", How.CREATED),
        ("", None, None),  # its absence was accepted
        ("", "b", How.CREATED),
        ("a", "", None),  # there, and not read
        (None, "", None),
        ("a", "ours", None),
    ],
)
def test_what_is_drift(base: str | None, now: str | None, found: How | None) -> None:
    bases = {} if base is None else {"x": base}
    there = {} if now is None else {"x": now}
    rows = list(drifts(bases, there, known={"y"}, ours={"x": {"ours"}}))
    assert rows == ([] if found is None else [Drift("x", found, base or "", now or "")])


def test_what_was_there_before_and_what_a_run_removed_is_none() -> None:
    assert list(drifts({}, {"x": "b"}, known={"x"}, ours={})) == []
    assert list(drifts({"x": "a"}, {}, known=(), ours={"x": {""}})) == []
