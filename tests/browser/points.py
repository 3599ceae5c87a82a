"""Points of an acceptance list: a test tries many of them, and says of each whether it holds."""

from __future__ import annotations


class Points:
    """`points(5, page.url == …, "Back leads elsewhere")`: all that do not hold are told together, by their numbers."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    def __call__(self, number: int, holds: object, words: object = "") -> None:
        if not holds:
            self._failed.append(f"{number}: {words}")

    def must_all_hold(self) -> None:
        assert not self._failed, "acceptance points that do not hold:\n" + "\n".join(self._failed)
