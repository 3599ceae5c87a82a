"""What the documents promise is there, and what is there is in the documents."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENV_CALLS = {"env_str", "env_bool", "env_int", "env_list", "env_secret"}


def variables_of_settings():
    """Every first argument of an env_*() call in settings.py: the name of a variable."""
    tree = ast.parse((ROOT / "sstools" / "settings.py").read_text())
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ENV_CALLS
    }


def variables_of_readme():
    text = (ROOT / "README.md").read_text()
    table = text[text.index("\n## Settings") :]
    return set(re.findall(r"^\| `(SSTOOLS_[A-Z_]+)` \|", table, flags=re.MULTILINE))


def test_every_setting_is_in_the_readme_and_the_readme_names_no_other():
    assert len(variables_of_settings()) > 20
    missing = variables_of_settings() - variables_of_readme()
    unknown = {
        name
        for name in variables_of_readme() - variables_of_settings()
        if not name.startswith("SSTOOLS_DEMO_")
    }
    assert (missing, unknown) == (set(), set())


def test_the_lock_files_hold_hashes_and_no_address():
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        pins = [line for line in lines if re.match(r"^[a-z0-9]", line)]
        assert len(pins) > 20
        assert all("==" in line and line.endswith("\\") for line in pins), name
        assert not [
            line for line in lines if re.search(r"https?://|file:|--(extra-)?index-url|--find-links", line)
        ]


def test_every_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text()))
    assert named
    assert named <= targets
