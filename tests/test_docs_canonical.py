"""docs/canonical-form.md names every rule with its reason."""

from pathlib import Path

import pytest

from environments.canonical import rules
from environments.canonical.companions import CompanionKind
from environments.superset.companions.support import SUPPORT

PAGE = (Path(__file__).parent.parent / "docs" / "canonical-form.md").read_text()
RULES = {
    **{name: why for names in rules.DROPPED.values() for name, why in names.items()},
    **rules.DROPPED_METADATA,
    **rules.DROPPED_URL_PARAMS,
    **rules.DROPPED_PARAMS,
    **rules.IGNORED_IN_COMPARISON,
    **rules.CONVERTED_VIZ_TYPES,
}


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_stands_on_the_page_with_its_reason(name: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and name in line.split("|")[1]]
    assert any(RULES[name] in row for row in rows), f"{name}: {RULES[name]}"


@pytest.mark.parametrize("kind", CompanionKind)
def test_a_kind_of_companion_stands_on_the_page_with_what_it_needs_and_its_source(
    kind: CompanionKind,
) -> None:
    support = SUPPORT[kind]
    section = PAGE.partition("## Companions")[2]
    (row,) = [line for line in section.splitlines() if line.startswith(f"| `{kind.value}` |")]
    assert row.endswith(f"| {support.right} | {support.source} |")
    assert support.flag in row
    assert (".".join(map(str, support.since[:2])) in row.split("|")[3]) == (support.since > (0, 0, 0))
