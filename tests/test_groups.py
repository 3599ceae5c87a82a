"""The test run itself: tests of a group run in one process, which is what their fixtures and machines count on."""

import os

import pytest

pytestmark = pytest.mark.xdist_group("groups")


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs everything")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup"):
        pytest.skip("distributed another way")
    assert request.node.nodeid.endswith("@groups")
