"""Which addresses a Superset may have."""

from typing import Any

import pytest

from environments.connections import connect
from sstools import outbound
from sstools.outbound import AddressRefused
from tests.factories import make_environment

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://168.63.129.16/",
        "http://0.0.0.0:8088/",
        "http://[::ffff:169.254.169.254]/",
    ],
)
def test_where_machines_keep_their_credentials_no_superset_is(url: str) -> None:
    with pytest.raises(AddressRefused):
        connect(make_environment("dev", url=url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8088", "http://10.1.2.3", "https://nobody.invalid"])
def test_inside_of_a_network_they_are_at_home(url: str) -> None:
    outbound.check_environment(url)


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://bi.corp.example", True),
        ("https://BI.Corp.Example/superset", True),
        ("https://corp.example.evil.test", False),
        ("http://10.1.2.3:8088", True),
        ("http://10.2.2.3:8088", False),
    ],
)
def test_a_list_of_hosts_is_the_end_of_it(settings: Any, url: str, is_allowed: bool) -> None:
    settings.ENVIRONMENT_HOSTS = ["*.corp.example", "10.1.0.0/16"]
    if is_allowed:
        outbound.check_environment(url)
    else:
        with pytest.raises(AddressRefused, match="none of the hosts"):
            outbound.check_environment(url)


def test_the_page_says_so_in_words(settings: Any, admin: Any, api: Any) -> None:
    """The test of a connection ends with the reason, like any other."""
    from environments import services
    from sstools.jobs.runner import run_job

    environment = make_environment("dev", url="http://169.254.169.254/")
    job = services.request_check(environment, actor=admin)
    run_job(str(job.uuid))
    job.refresh_from_db()
    environment.refresh_from_db()
    assert "credentials" in str(job.error or environment.check_report)
