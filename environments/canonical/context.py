"""What reading and rendering carry along: the environment's ids and address, and the notes that pile up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .documents import Kind, Note
from .ids import IdTable
from .texts import text_to_canonical, text_to_target
from .trees import map_texts


@dataclass
class ReadContext:
    """Reading one asset of one environment."""

    ids: IdTable
    base_url: str = ""
    uuid: str = ""
    charts: frozenset[str] = frozenset()
    notes: list[Note] = field(default_factory=list)

    def knows_chart(self, uuid: str) -> bool:
        """Whether the environment, or the bundle that is being read, has this chart."""
        return uuid in self.charts or self.ids.id_of(Kind.CHART, uuid) is not None

    def note(self, code: str, text: str, where: str = "") -> None:
        self.notes.append(Note(code, self.uuid, text, where))

    def texts(self, value: Any, where: str) -> Any:
        """A JSON value with the ids in its texts made tokens; what cannot be resolved is noted."""

        def change(text: str) -> str:
            changed, found = text_to_canonical(text, self.ids, self.base_url)
            for reference in found:
                if reference.uuid is None:
                    self.note(
                        "unresolved_id",
                        f"“{reference.found}” names a {reference.kind.value} that this environment does not have; "
                        "it will lead nowhere.",
                        where,
                    )
            return changed

        return map_texts(value, change)


@dataclass
class RenderContext:
    """Rendering one asset for one environment. `missing` collects references that the environment has no
    id for (yet), `missing_in_texts` those of them that stand in a text.
    """

    ids: IdTable
    base_url: str = ""
    missing: set[tuple[Kind, str]] = field(default_factory=set)
    missing_in_texts: set[tuple[Kind, str]] = field(default_factory=set)

    def id_of(self, kind: Kind, uuid: str) -> int | None:
        number = self.ids.id_of(kind, uuid)
        if number is None:
            self.missing.add((kind, uuid))
        return number

    def texts(self, value: Any) -> Any:
        def change(text: str) -> str:
            changed, missing = text_to_target(text, self.ids, self.base_url)
            named = {(reference.kind, reference.uuid) for reference in missing if reference.uuid}
            self.missing |= named
            self.missing_in_texts |= named
            return changed

        return map_texts(value, change)
