"""Which way imports point, and what the pure packages may stand on. Read from the source, nothing is imported.

migrations_app -> environments -> sstools            never back
pure packages: only what is named here               no Django, and no I/O where I/O is not their work
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sstools", "environments", "migrations_app")
FORBIDDEN = {"sstools": ("environments", "migrations_app"), "environments": ("migrations_app",)}


@dataclass(frozen=True)
class Pure:
    """A package without Django. `parts`: which packages of ours it may use besides itself."""

    third_party: frozenset[str]
    parts: tuple[str, ...]
    may_do_io: bool


PURE = {
    "environments/superset": Pure(frozenset({"httpx", "yaml", "certifi"}), ("environments.canonical",), True),
    "environments/canonical": Pure(frozenset(), (), False),
    "environments/lab": Pure(frozenset(), (), True),
    "migrations_app/engine": Pure(frozenset(), ("environments.canonical",), False),
}
# What touches the world outside, or its clock. A pure function gets the moment and the text as arguments.
IO_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "glob",
        "http",
        "logging",
        "multiprocessing",
        "os",
        "random",
        "secrets",
        "select",
    }
    | {
        "selectors",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
    }
    | {"threading", "time", "urllib.request"}
)
IO_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})
CLOCK_CALLS = frozenset({"now", "today", "utcnow"})


def files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, absolute module) of every import, wherever it stands; `from x import y` gives x and x.y."""
    here = module_of(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, name
            for alias in node.names:
                yield node.lineno, f"{name}.{alias.name}"


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_never_import_upward(package):
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files(package)
        for line, name in imports(path, ast.parse(path.read_text()))
        if any(is_within(name, above) for above in FORBIDDEN[package])
    ]
    assert found == []


@pytest.mark.parametrize("folder", PURE)
def test_pure_packages_stand_on_what_they_may(folder):
    rule, own = PURE[folder], folder.replace("/", ".")
    allowed_roots = set(sys.stdlib_module_names) | rule.third_party
    found = []
    for path in files(folder):
        for line, name in imports(path, ast.parse(path.read_text())):
            root = name.split(".")[0]
            if root in PACKAGES:
                parents = {own.rsplit(".", n)[0] for n in range(own.count(".") + 1)}
                if not any(is_within(name, part) for part in (own, *rule.parts)) and name not in parents:
                    found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
            elif root not in allowed_roots:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert found == []


@pytest.mark.parametrize("folder", [folder for folder, rule in PURE.items() if not rule.may_do_io])
def test_pure_packages_touch_neither_files_nor_network_nor_clock(folder):
    found = []
    for path in files(folder):
        tree = ast.parse(path.read_text())
        where = path.relative_to(ROOT)
        found += [
            f"{where}:{line} imports {name}"
            for line, name in imports(path, tree)
            if any(is_within(name, module) for module in IO_MODULES)
        ]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if isinstance(function, ast.Name) and function.id in IO_CALLS:
                found.append(f"{where}:{node.lineno} calls {function.id}()")
            # datetime.now() and date.today(); a method of another thing by that name is not the clock
            if (
                isinstance(function, ast.Attribute)
                and function.attr in CLOCK_CALLS
                and isinstance(function.value, ast.Name | ast.Attribute)
                and ast.unparse(function.value).split(".")[-1] in ("datetime", "date")
            ):
                found.append(f"{where}:{node.lineno} reads the clock")
    assert found == []


def test_the_superset_client_is_the_only_one_that_imports_httpx_besides_the_outbound_client():
    """One door to a Superset, and one to everything else outside."""
    may = {
        "environments/superset",
        "environments/connections.py",  # names the type of the transport that tests put in
        "sstools/outbound.py",
        "migrations_app/git/http.py",  # says what went wrong on the client of outbound.py
        "migrations_app/git/forges.py",  # likewise
    }
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in files(package)
        for _, name in imports(path, ast.parse(path.read_text()))
        if is_within(name, "httpx") and not any(str(path.relative_to(ROOT)).startswith(one) for one in may)
    ]
    assert found == []


def test_the_check_sees_relative_and_hidden_imports():
    """The tests above would pass for nothing if they could not see these."""
    path = ROOT / "environments" / "superset" / "x.py"
    source = (
        "def f():\n    from ...migrations_app import a\n    import django.db\n"
        "from ..canonical import b\nfrom . import c"
    )
    found = {name for _, name in imports(path, ast.parse(source))}
    assert {
        "migrations_app",
        "migrations_app.a",
        "django.db",
        "environments.canonical.b",
        "environments.superset.c",
    } <= found
