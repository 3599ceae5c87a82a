"""What is done at the same time ends together, whatever goes wrong on either side."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from migrations_app import side_by_side
from migrations_app.side_by_side import Meanwhile


class Broken(Exception):
    pass


def test_the_body_and_the_call_are_done_at_the_same_time() -> None:
    body_was_here = threading.Event()

    def call(going_on: Callable[[], None]) -> str:
        assert body_was_here.wait(30)
        going_on()
        return "asked"

    with Meanwhile(lambda: None) as beside:
        result = beside.start(call)
        body_was_here.set()
        assert result() == "asked"


def test_an_error_of_the_call_is_raised_where_its_result_is_wanted() -> None:
    def call(going_on: Callable[[], None]) -> None:
        raise Broken

    with Meanwhile(lambda: None) as beside, pytest.raises(Broken):
        beside.start(call)()


def test_calls_are_carried_out_one_after_the_other_and_all_of_them() -> None:
    done: list[int] = []
    with Meanwhile(lambda: None) as beside:
        for number in range(5):
            beside.start(lambda going_on, number=number: done.append(number))
    assert done == [0, 1, 2, 3, 4]


def test_an_error_of_the_body_ends_the_call() -> None:
    calls = 0
    left = threading.Event()

    def call(going_on: Callable[[], None]) -> None:
        nonlocal calls
        while True:
            going_on()
            calls += 1
            left.wait(30)

    def body() -> None:
        with Meanwhile(lambda: None) as beside:
            beside.start(call)
            threading.Timer(0.05, left.set).start()
            raise Broken

    with pytest.raises(Broken):
        body()
    assert calls <= 1


def test_whoever_waits_may_be_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "LOOK_SECONDS", 0.01)
    stop = threading.Event()

    def call(going_on: Callable[[], None]) -> None:
        assert stop.wait(30)

    def checkpoint() -> None:
        stop.set()
        raise Broken

    with pytest.raises(Broken), Meanwhile(checkpoint) as beside:
        beside.start(call)()
