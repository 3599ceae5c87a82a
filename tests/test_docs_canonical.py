"""docs/canonical-form.md names every rule with its reason."""

from pathlib import Path

import pytest

from environments.canonical import rules

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
