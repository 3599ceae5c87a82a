"""What a plugin's process may do to the one that asked: nothing, but answer, fail, or be ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sstools.errors import JobCancelled
from sstools.plugins import discovery, host
from sstools.plugins.models import Plugin
from tests.plugins.packages import build, install, of_code

pytestmark = pytest.mark.django_db

#: Every misbehaviour in one package; what is asked for is the job's name.
MISBEHAVING = """
import ctypes, os, sys, time
def loops(call):
    while True: pass
def sleeps(call): time.sleep(600)
def starts_another(call):
    if os.fork() == 0:
        open(call.values["mark"], "w").write(str(os.getpid())); time.sleep(600)
    time.sleep(600)
def raises(call): raise RuntimeError("the key is " + call.settings["key"])
def leaves(call): sys.exit(3)
def dies(call): os._exit(3)
def crashes(call): ctypes.string_at(0)
def eats(call):
    held = []
    while True: held.append(bytearray(2 ** 26))
def prints(call):
    print('{"answer": 1}'); sys.stdout.flush()
    return e.Result("printed")
def nonsense(call): return {"summary": "a dict"}
def unwritable(call): return e.Result("x", data={"what": object()})
def floods(call): return e.Result("x" * (2 * 2 ** 20))
def tells(call):
    call.step("half", 1, 2); call.log("warning", "hears " + call.settings["key"])
    return e.Result("told \\0 \\ud800 " + call.settings["key"])
def looks(call): return e.Result(",".join(sorted(os.environ)) + " django" * ("django" in sys.modules))
names = [name for name, one in list(globals().items()) if callable(one)]
plugin = e.Plugin("misbehaving", "Misbehaving", "0.1", ">=1.0,<2",
    settings=[e.Field("key", "Key", e.FieldKind.SECRET)],
    jobs=[e.Job(name.replace("_", "-"), name, globals()[name]) for name in names])
"""


@pytest.fixture
def ask(folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """ask("loops", seconds=1): one call of a job of MISBEHAVING."""
    install(build(of_code("misbehaving", MISBEHAVING), tmp_path), folder)
    found = discovery.find_all()["misbehaving"]

    def call(name: str, *, seconds: float = 30, values: dict[str, Any] | None = None, **more: Any) -> Any:
        given = {
            "settings": {"key": "canary-of-a-plugin"},
            "values": values or {},
            "environment": None,
            "assets": [],
            "event": {},
            "actor": "ann",
        }
        secrets = ["canary-of-a-plugin"]
        return host.call(found, "job", item=name, given=given, seconds=seconds, secrets=secrets, **more)

    return call


def test_what_it_raises_is_told_without_its_secrets(ask: Callable[..., Any]) -> None:
    with pytest.raises(host.PluginFailed) as raised:
        ask("raises")
    assert (raised.value.code, raised.value.message) == ("plugin_failed", "RuntimeError: the key is ***")
    assert "in raises" in raised.value.trace
    assert "canary" not in raised.value.trace
    for name, code in (("leaves", "plugin_failed"), ("dies", "plugin_died"), ("crashes", "plugin_died")):
        with pytest.raises(host.PluginFailed) as raised:
            ask(name)
        assert raised.value.code == code, name


def test_one_that_loops_for_ever_is_ended_with_all_that_it_started(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("loops", "sleeps"):
        began = time.monotonic()
        with pytest.raises(host.PluginFailed) as raised:
            ask(name, seconds=0.7)
        assert raised.value.code == "plugin_timed_out"
        assert time.monotonic() - began < 20
    mark = tmp_path / "child"
    with pytest.raises(host.PluginFailed):
        ask("starts-another", seconds=2, values={"mark": str(mark)})
    pid = int(mark.read_text())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _is_alive(pid):
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_one_that_eats_memory_is_stopped_by_its_limit(ask: Callable[..., Any], settings: Any) -> None:
    settings.PLUGIN_MEMORY_MB = 256
    with pytest.raises(host.PluginFailed) as raised:
        ask("eats")
    assert raised.value.code == "plugin_out_of_memory"


def test_an_answer_that_is_none_is_refused(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MOST_ANSWER_BYTES", 2**20)
    for name in ("nonsense", "unwritable", "floods"):
        with pytest.raises(host.PluginFailed) as raised:
            ask(name)
        assert raised.value.code == "plugin_answer_invalid", name
    assert ask("prints")["summary"] == "printed"  # what it prints is no answer


def test_what_it_says_meanwhile_is_heard_and_a_cancel_ends_it(ask: Callable[..., Any]) -> None:
    heard: list[dict[str, Any]] = []
    assert ask("tells", on_line=heard.append)["summary"] == "told  ? ***"
    assert heard == [
        {"step": {"title": "half", "done": 1, "total": 2}},
        {"log": {"level": "warning", "text": "hears ***"}},
    ]

    def cancelled() -> None:
        raise JobCancelled

    with pytest.raises(JobCancelled):
        ask("sleeps", still_wanted=cancelled)


def test_it_gets_none_of_the_settings_of_ss_tools(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSTOOLS_SECRET_KEY", "x")
    assert set(ask("looks")["summary"].split(",")) <= {"LANG", "LC_CTYPE", "PATH", "PYTHONIOENCODING"}
    assert os.environ["SSTOOLS_SECRET_KEY"] == "x"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("plugin = 'a text'", "no sstools.plugins.extension.Plugin, but str"),
        ("plugin = e.Plugin('other', 'X', '1', '>=1.0')", "both must say the same"),
        (
            "plugin = e.Plugin('bad', 'X', '1', '>=2.0')",
            "It is made for interface >=2.0; this ss-tools has 1.0.",
        ),
        ("plugin = e.Plugin('bad', 'X', '1', 'any')", "“any” is no range of versions"),
        ("plugin = e.Plugin('bad', '', '1', '>=1.0')", "Its title is missing"),
        (
            "plugin = e.Plugin('bad', 'X', '1', '>=1.0', jobs=[e.Job('a', 'A', print, seconds=9e9)])",
            "at most 3600",
        ),
        (
            "plugin = e.Plugin('bad', 'X', '1', '>=1.0', jobs=[e.Job('a', 'A', print, reads=['slice'])])",
            "reads slice",
        ),
        (
            "plugin = e.Plugin('bad', 'X', '1', '>=1.0', jobs=[e.Job('a', 'A', print, fields=[e.Field('k', 'K',"
            " e.FieldKind.SECRET)])])",
            "secrets are settings",
        ),
        (
            "plugin = e.Plugin('bad', 'X', '1', '>=1.0', settings=[e.Field('n', 'N', e.FieldKind.NUMBER,"
            " default=3, minimum=5)])",
            "At least 5",
        ),
    ],
)
def test_one_that_cannot_be_used_says_why(installed: Callable[..., Plugin], code: str, wrong: str) -> None:
    plugin = installed(of_code("bad", code))
    assert plugin.problem is not None
    assert wrong in plugin.problem["text"]
    assert plugin.state == "plugin_broken"
    assert not plugin.can_be_used
