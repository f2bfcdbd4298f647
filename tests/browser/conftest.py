"""Fixtures: the page on a real port, and a real browser. `scripts/test browser` runs these tests.

They are left out of all other runs, because they need Chromium.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from web.conftest import SECRET, Tokens, recorded
from web.contents import (
    ANSWERED,
    ASKED,
    CALLED,
    RESULT,
    SYSTEM,
    anthropic_request,
    anthropic_response,
    with_content,
)
from web.memory import MemoryReports

from aibridge_addon.report.rows import InterceptionDetail
from aibridge_addon.web.app import make_app
from aibridge_addon.web.links import make_key
from aibridge_addon.web.server import WebServer
from aibridge_addon.web.site import make_site

WAIT_MS = 20_000
DESK, PHONE = (1280, 800), (390, 844)
type OpenPage = Callable[..., Page]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out unless an argument names their folder."""
    named = any("browser" in Path(str(word)).parts for word in config.invocation_params.args)
    return None if named else True


def conversation() -> list[InterceptionDetail]:
    """Return two requests of a session, with a tool call in between."""
    called = {"role": "assistant", "content": CALLED}
    first = with_content(
        recorded("r-1", prompt="Why does the parser drop the last event?", tools=("Read",)),
        (anthropic_request(ASKED), anthropic_response(CALLED)),
    )
    second = with_content(
        recorded("r-2", prompt=None),
        (
            anthropic_request(ASKED, called, RESULT, system=f"{SYSTEM}\nToday is Saturday."),
            anthropic_response(ANSWERED, "msg_2"),
        ),
    )
    return [replace(first, next_id="r-2"), replace(second, previous_id="r-1")]


@pytest.fixture
def reports() -> MemoryReports:
    """Requests of two people, with content."""
    return MemoryReports(recorded("r-bob", "bob", session="s-2", model="haiku"), *conversation())


@pytest.fixture
def tokens() -> Tokens:
    """Access tokens, none at first."""
    return Tokens()


@pytest.fixture
def url(reports: MemoryReports, tokens: Tokens) -> Iterator[str]:
    """Address of the page, which a thread serves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WebServer(make_app(make_site(reports, tokens, secret=SECRET)), listener)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium of the system."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "no Chromium was found; name it in the environment variable CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, url: str) -> Iterator[OpenPage]:
    """Open a browser of its own, signed in by a link; it fails on any error in its console."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(
        *,
        size: tuple[int, int] = DESK,
        scheme: str = "light",
        signed_in: bool = True,
        scripts: bool = True,
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=scripts,
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        if signed_in:
            page.goto(f"{url}/link?key={make_key(SECRET)}")
            page.wait_for_url(f"{url}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [error for error in errors if "status of 4" not in error] == []
