"""A headless Chromium for tests marked `browser`: the one on the path, or that of playwright."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = (
        "1"  # playwright keeps an event loop in this thread; queries are made beside it
    )
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
        except playwright.Error as error:
            if os.environ.get("CI", "").lower() == "true":
                raise
            pytest.skip(f"no Chromium here (scripts/chromium.sh): {str(error).splitlines()[0]}")
        yield browser
        browser.close()
    asyncio.set_event_loop(None)
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def open_page(chromium: Any, live_server: Any, client: Any) -> Iterator[Callable[..., Any]]:
    """open_page(user, "/jobs/", viewport=…): a tab of that user (None: nobody). Errors of the page fail the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_(user: Any, path: str, **options: Any) -> Any:
        context = chromium.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        if user is not None:
            client.force_login(user)
            morsel = client.cookies["sstools_session"]
            context.add_cookies([{"name": morsel.key, "value": morsel.value, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: "Content Security Policy" in said.text and complaints.append(said.text)
        )
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == [], complaints
