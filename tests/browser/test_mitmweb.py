"""mitmweb in a real browser: the list of flows, and a stream as its message."""

import pytest
from cli.command import Home
from cli.conftest import confdir, home  # noqa: F401 fixtures
from cli.test_proxy import ask
from e2e.conftest import authority, provider, standin, start_standin  # noqa: F401 fixtures
from playwright.sync_api import Browser, expect
from ports import free_port

from browser.conftest import DESK, WAIT_MS

ROW = ".flow-table tbody tr:has(td)"


@pytest.mark.timeout(300)
def test_mitmweb_lists_comments_and_shows_a_response_as_a_message(
    home: Home,  # noqa: F811
    chromium: Browser,
) -> None:
    process = home.start_proxy("--web", "--set", f"web_port={free_port()}")
    ask(str(home.proxy().reverse_url), "Why is the sky blue? THINK TOKENS:900,60,0,0")
    address = process.wait_for("Web server listening").partition("at ")[2]
    page = chromium.new_page(viewport={"width": DESK[0], "height": DESK[1]})
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    row = page.locator(ROW)
    expect(row).to_contain_text("900→60 anonymous")
    row.click()
    page.get_by_text("Response", exact=True).click()
    view = page.locator(".contentview")
    expect(view).to_contain_text("tokens: 900 in → 60 out")
    expect(view).to_contain_text("── assistant ──")
    expect(view).to_contain_text("Hello from the stand-in.")
    page.get_by_text("Request", exact=True).click()
    expect(view).to_contain_text("── user ──")
    page.close()
    assert process.stop() == 0, process.text
