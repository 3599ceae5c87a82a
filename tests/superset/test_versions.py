"""The tables of what differs between releases."""

from environments.superset.fields import FIELDS, of_kind, unknown_to
from environments.superset.versions import CAPABILITIES, TESTED, Capabilities
from environments.superset.viz_types import needing_a_flag, undrawable
from tests.compat.report import PAGE, capabilities, fields


def _unknown(version: str, kind: str) -> set[str]:
    return set(of_kind(unknown_to(Capabilities.of_version(version)), kind))


def test_each_line_of_both_tables_has_a_meaning_and_a_source() -> None:
    names = {line.name for line in CAPABILITIES}
    assert len(names) == len(CAPABILITIES)
    for line in (*CAPABILITIES, *FIELDS):
        assert line.meaning
        assert line.source
    decided = {name for name, value in Capabilities.of_version("6.1.0").to_dict().items() if value is True}
    assert decided - {"tested", "supported"} == names & {*Capabilities.__dataclass_fields__} - {
        "tags_in_bundle"
    }


def test_the_documentation_shows_both_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert capabilities() in page  # `make compat` writes them anew
    assert fields() in page


def test_releases_know_what_came_before_them() -> None:
    assert [len(unknown_to(Capabilities.of_version(version))) for version in TESTED] == [17, 15, 9, 0]
    assert _unknown("6.0.0", "dataset") == {
        *("currency_code_column", "source_db_engine", "data_file", "columns.datetime_format"),
    }
    assert "theme_uuid" in _unknown("5.0.0", "dashboard")
    assert _unknown("0.0.0-dev", "dataset") == set()  # a build from a branch counts as the newest
    assert Capabilities.of_version("7.0.0").sparse_import
    assert not Capabilities.of_version("5.0.1").sparse_import


def test_chart_types_that_a_release_cannot_draw_are_told_with_the_reason() -> None:
    assert (
        "4.1.4 has no charts of the type gantt_chart"
        in undrawable(Capabilities.of_version("4.1.4"))["gantt_chart"]
    )
    assert "event_flow" in undrawable(Capabilities.of_version("6.1.0"))
    assert set(undrawable(Capabilities.of_version("0.0.0-dev"))) == {"filter_box"}  # which no import takes


def test_chart_types_behind_a_feature_flag_that_is_off_are_told() -> None:
    flags = {"AG_GRID_TABLE_ENABLED": False, "CHART_PLUGINS_EXPERIMENTAL": True}
    told = needing_a_flag(Capabilities.of_version("6.1.0", feature_flags=flags))
    assert set(told) == {"ag-grid-table"}
    assert "AG_GRID_TABLE_ENABLED" in told["ag-grid-table"]
    assert needing_a_flag(Capabilities.of_version("6.1.0")) == {}  # flags are not known
