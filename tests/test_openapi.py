"""The REST API's schema: it is made without a warning, and the committed one is what the code says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.validation import validate_schema

COMMITTED = Path(__file__).resolve().parents[1] / "docs" / "openapi.yaml"
COMMAND = "manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml"


@pytest.fixture
def schema() -> Any:
    GENERATOR_STATS.reset()
    return SchemaGenerator().get_schema(request=None, public=True)


def test_the_schema_is_made_without_a_warning_and_is_valid(
    schema: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not GENERATOR_STATS, "see: " + COMMAND
    assert "Warning" not in capsys.readouterr().err
    validate_schema(schema)


def test_the_committed_schema_is_what_the_code_says(schema: Any) -> None:
    made = yaml.safe_load(OpenApiYamlRenderer().render(schema, renderer_context={}))
    assert yaml.safe_load(COMMITTED.read_text()) == made, "The API moved. If that is meant: " + COMMAND


def test_every_operation_is_described_and_may_answer_with_a_problem(schema: Any) -> None:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}, path
            assert operation.get("description"), f"{method} {path} says nothing"


def test_work_answers_202_with_a_job(schema: Any) -> None:
    for path in ("plan", "apply"):
        answers = schema["paths"][f"/api/v1/migrations/{{uuid}}/{path}/"]["post"]["responses"]
        assert answers["202"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/JobDetail"
        }
