"""What the documents promise is there, and what is there is in the documents."""

from __future__ import annotations

import ast
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from sstools.jobs import registry
from sstools.roles.permissions import ROLES, Permission

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {path.relative_to(ROOT).as_posix(): path.read_text() for path in DOCS}
ENV_CALLS = {"env_str", "env_bool", "env_int", "env_list", "env_secret", "env_mail_server"}
#: Read by the lab, the demo, the tests and `manage.py compat`; no settings.
OTHER_VARIABLES = re.compile(r"SSTOOLS_(DEMO|LAB|TEST|CREDENTIAL|COMPAT|IMAGE|PUBLISH)(_|\b)")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without its first two rows."""
    section = re.split(r"^#+ ", text[text.index(f"# {heading}\n") + 2 :], maxsplit=1, flags=re.MULTILINE)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]


# --- Settings


def variables_of_settings() -> set[str]:
    """Every first argument of an env_*() call in settings.py: the name of a variable."""
    tree = ast.parse((ROOT / "sstools" / "settings.py").read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ENV_CALLS
        and isinstance(node.args[0], ast.Constant)
    }


def variables_of_readme() -> set[str]:
    return {row[0].strip("`") for row in rows(README, "Settings") if row[0].startswith("`SSTOOLS_")}


def test_every_setting_is_in_the_readme_and_the_readme_names_no_other() -> None:
    assert len(variables_of_settings()) > 20
    assert variables_of_settings() == variables_of_readme()


@pytest.mark.parametrize("name", [*TEXT, "compose.yaml", "Dockerfile"])
def test_no_variable_is_named_that_nothing_reads(name: str) -> None:
    text = TEXT.get(name) or (ROOT / name).read_text()
    named = {found.removesuffix("_FILE") for found in re.findall(r"SSTOOLS_[A-Z]+(?:_[A-Z0-9]+)*", text)}
    unknown = {found for found in named - variables_of_settings() if not OTHER_VARIABLES.match(found)}
    assert unknown <= {"SSTOOLS"}


def test_the_variables_of_lab_and_demo_are_read_there() -> None:
    code = "".join(
        path.read_text() for folder in ("environments", "tests") for path in (ROOT / folder).rglob("*.py")
    )
    named = {
        found for text in TEXT.values() for found in re.findall(r"SSTOOLS_(?:DEMO|LAB)_[A-Z_]+[A-Z]", text)
    }
    assert len(named) > 4
    assert {found for found in named if f'"{found}"' not in code} == set()


# --- Make, commands, files


def make_targets() -> dict[str, str]:
    """Target -> its line of help."""
    found = re.findall(r"^([a-z-]+):[^#\n=]*## (.+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    return dict(found)


def test_every_make_target_is_documented_and_no_other_is() -> None:
    named = {target for text in TEXT.values() for target in re.findall(r"`make ([a-z-]+)", text)}
    assert named == set(make_targets())
    assert {"demo", "run", "test"} <= set(re.findall(r"^\| `make ([a-z-]+)`", README, flags=re.MULTILINE))


def own_commands() -> set[str]:
    own = ("sstools.", "environments", "migrations_app")
    return {name for name, app in get_commands().items() if isinstance(app, str) and app.startswith(own)}


def test_every_command_is_documented_and_no_other_is() -> None:
    named = {found for text in TEXT.values() for found in re.findall(r"manage\.py ([a-z_]+)", text)}
    assert own_commands() - named == {"demo_setup"}  # a part of `make demo`
    assert named <= set(get_commands())
    assert {"plan", "apply", "verify", "rollback"} <= own_commands()


def test_options_that_documents_name_exist() -> None:
    commands = {name: load_command_class(get_commands()[name], name) for name in own_commands()}
    known = {
        name: {
            option
            for action in command.create_parser("manage.py", name)._actions
            for option in action.option_strings
        }
        for name, command in commands.items()
    }
    for name, text in TEXT.items():
        for command, words in re.findall(r"manage\.py ([a-z_]+)((?: [^`\n#|]+)?)", text):
            for option in re.findall(r"(?<= )--[a-z-]+", words):
                if command in known:
                    assert option in known[command], f"{name}: manage.py {command} {option}"
    pipeline = TEXT["docs/commands.md"]
    everything = set().union(*known.values())
    assert {option for option in re.findall(r"`(--[a-z-]+)", pipeline) if option not in everything} == set()


@pytest.mark.parametrize("name", TEXT)
def test_links_lead_somewhere(name: str) -> None:
    text = re.sub(r"```.*?```", "", TEXT[name], flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        goal = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert goal.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", goal.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{name}: {target}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, ahead = {"README.md"}, ["README.md"]
    while ahead:
        here = ROOT / ahead.pop()
        for target in re.findall(r"\]\(([^)#\s]+\.md)", here.read_text()):
            name = (here.parent / target).resolve().relative_to(ROOT).as_posix()
            if name not in reached:
                reached.add(name)
                ahead.append(name)
    assert set(TEXT) - reached == set()


@pytest.mark.parametrize("name", TEXT)
def test_files_and_tests_that_are_named_exist(name: str) -> None:
    text = TEXT[name]
    for path in re.findall(
        r"`((?:sstools|environments|migrations_app|templates|static|tests|docs|scripts)/[\w./-]*)`", text
    ):
        assert (ROOT / path).exists(), path
    code = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    for test in re.findall(r"`(test_\w+)(?:`|…)", text):
        assert any(f"def {test}" in one for one in code), test
    for file in re.findall(r"`(test_\w+\.py)`", text):
        assert list((ROOT / "tests").rglob(file)), file


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "img").iterdir())
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 200_000] == []


# --- Rights, jobs, API


def test_the_table_of_permissions_is_the_one_of_the_code() -> None:
    table = rows(TEXT["docs/rights-and-jobs.md"], "Roles")
    assert table[0][1:-1] == [role.title for role in ROLES.values()]
    found = {row[0].strip("`"): [cell == "✓" for cell in row[1:-1]] for row in table[2:]}
    assert found == {str(one): [one in role.permissions for role in ROLES.values()] for one in Permission}


def test_every_kind_of_job_is_documented_with_its_permission() -> None:
    registry.load()
    table = rows(TEXT["docs/rights-and-jobs.md"], "Jobs")
    found = {row[0].strip("`"): row[-1].strip("`") for row in table if "." in row[0]}
    kinds = {name: kind for name, kind in registry._kinds.items() if not name.startswith("trial.")}
    assert found == {name: str(kind.permission or "–") for name, kind in kinds.items()}


def test_the_examples_of_the_api_ask_for_what_there_is() -> None:
    schema = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    count = 0
    for name in ("README.md", "docs/api.md"):
        for block in re.findall(r"```sh\n(.*?)```", TEXT[name], flags=re.DOTALL):
            for method, address, data in requests(block):
                operation = operation_of(schema, address, method)
                count += 1
                if data:
                    fields = fields_of(
                        schema, operation["requestBody"]["content"]["application/json"]["schema"]
                    )
                    assert set(data) <= fields, f"{name}: {method} {address}"
                if query := re.search(r"\?(.*)", address):
                    known = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
                    assert {part.partition("=")[0] for part in query[1].split("&")} <= known, address
    assert count > 12


def requests(script: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, address, JSON) of every call of curl in a script."""
    found = []
    parts = re.split(r"(?=(?:\$URL|http://localhost:8140)/api/v1/)", script)
    for before, part in itertools.pairwise(parts):
        address = re.match(r"(?:\$URL|http://localhost:8140)(/api/v1/[^\s\"]*)", part)
        assert address
        data = re.search(r"-d '(\{.*?\})'(?=[\s)]|$)", part, flags=re.DOTALL)
        text = re.sub(r"'\"?[^'{}]*?\"?'|'\"\$\([^']*'", "x", data[1]) if data else "{}"
        method = "post" if data or before.rstrip(' "').endswith("-X POST") else "get"
        found.append((method, address[1], json.loads(text)))
    return found


def operation_of(schema: dict[str, Any], address: str, method: str) -> dict[str, Any]:
    for path, operations in schema["paths"].items():
        pattern = re.sub(r"\\?\{\w+\\?\}", "[^/]+", re.escape(path))
        if re.fullmatch(pattern, address.partition("?")[0]) and method in operations:
            found: dict[str, Any] = operations[method]
            return found
    raise AssertionError(f"there is no {method} {address}")


def fields_of(schema: dict[str, Any], part: dict[str, Any]) -> set[str]:
    if "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return set(part["properties"])


# --- The lock


def test_the_lock_files_hold_hashes_and_no_address() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        pins = [line for line in lines if re.match(r"^[a-z0-9]", line)]
        assert len(pins) > 20
        assert all("==" in line and line.endswith("\\") for line in pins), name
        assert not [
            line for line in lines if re.search(r"https?://|file:|--(extra-)?index-url|--find-links", line)
        ]
