"""Where the demo listens, and what it says when it cannot. Nothing is started here."""

import socket

import pytest

from environments.lab.demo import Ports, box, check_ports, choose_ports
from environments.lab.errors import LabError
from environments.lab.processes import free_port, is_port_free

NOTHING: dict[str, int | None] = {}


def test_option_beats_variable_beats_default() -> None:
    environ = {"SSTOOLS_DEMO_DEV_PORT": "9001", "SSTOOLS_DEMO_PROD_PORT": " 9002 ", "SSTOOLS_DEMO_PORT": ""}
    assert choose_ports({"dev": 7001}, environ) == Ports(dev=7001, prod=9002, ss_tools=8000)
    assert choose_ports(NOTHING, {}) == Ports(dev=8188, prod=8189, ss_tools=8000)


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "8188.0", "٨١٨٨", "80 81"])
def test_what_is_no_port_is_refused_with_the_name_of_the_variable(value: str) -> None:
    with pytest.raises(LabError) as caught:
        choose_ports(NOTHING, {"SSTOOLS_DEMO_PROD_PORT": value})
    assert repr(value) in caught.value.message
    assert "SSTOOLS_DEMO_PROD_PORT" in caught.value.remedy


def test_one_port_for_two_is_refused() -> None:
    with pytest.raises(LabError, match="8188 is meant for both Superset dev and ss-tools"):
        choose_ports({"ss_tools": 8188}, {})


def test_a_taken_port_is_named_with_another_to_choose() -> None:
    with pytest.raises(LabError) as caught:
        check_ports(Ports(8188, 8189, 8000), is_free=lambda port: port not in (8188, 8190))
    assert caught.value.message == "Port 8188, where Superset dev should listen, is taken."
    # 8189 is prod's, 8190 taken as well
    assert "SSTOOLS_DEMO_DEV_PORT=8191 make demo" in caught.value.remedy


def test_every_taken_port_is_named_at_once_and_no_suggestion_twice() -> None:
    with pytest.raises(LabError) as caught:
        check_ports(Ports(8188, 8189, 8000), is_free=lambda port: port not in (8188, 8189))
    assert "Port 8188" in caught.value.message
    assert "Port 8189" in caught.value.message
    assert "SSTOOLS_DEMO_DEV_PORT=8190 SSTOOLS_DEMO_PROD_PORT=8191 make demo" in caught.value.remedy


def test_free_ports_pass() -> None:
    check_ports(Ports(1, 2, 3), is_free=lambda port: True)


def test_a_listening_port_is_not_free_and_a_closed_one_is() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not is_port_free(port)
    assert is_port_free(port)
    assert is_port_free(free_port())


def test_the_box_fits_its_longest_line() -> None:
    lines = box(["a", "longer"]).splitlines()
    assert lines == ["┌────────┐", "│ a      │", "│ longer │", "└────────┘"]
