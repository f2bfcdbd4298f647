"""The page in a real browser: by mouse, by keyboard, on a phone, and with a screen reader."""

import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import expect
from web.conftest import Tokens, recorded
from web.memory import MemoryReports

from browser.conftest import DESK, PHONE, WAIT_MS, OpenPage

PATHS = (
    *("/", "/?chart=requests", "/sessions", "/requests", "/requests?q=prompt"),
    *(
        "/requests?actor=nobody",
        "/requests/r-1",
        "/requests/r-2?earlier=1",
        "/requests/r-2/changes",
    ),
    *("/people", "/health", "/no-such-page"),
)

expect.set_options(timeout=WAIT_MS)


def test_live_row_appears_without_a_reload(
    open_page: OpenPage, url: str, reports: MemoryReports
) -> None:
    page = open_page()
    page.goto(f"{url}/requests")
    expect(page.locator("#live-state")).to_have_text("live")
    expect(page.locator("tbody tr")).to_have_count(3)
    reports.details.append(recorded("r-live", prompt="<img src=x onerror=alert(1)> now"))
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("<img src=x onerror=alert(1)> now")
    expect(page.locator("tbody tr")).to_have_count(4)
    first.get_by_role("link").click()
    page.wait_for_url(f"{url}/requests/r-live")


def test_first_request_replaces_the_empty_state(
    open_page: OpenPage, url: str, reports: MemoryReports
) -> None:
    reports.details.clear()
    page = open_page()
    page.goto(f"{url}/requests")
    expect(page.get_by_text("aibridge run -- claude")).to_be_visible()
    expect(page.locator("#live-state")).to_have_text("live")
    reports.details.append(recorded("r-live"))
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(".empty")).to_have_count(0)


def test_filters_live_in_the_address_and_back_works(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.goto(f"{url}/requests")
    page.get_by_label("model").fill("haiku")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**model=haiku**")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Remove the filter model: haiku").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.reload()
    expect(page.get_by_role("combobox", name="model")).to_have_value("haiku")


def test_page_is_used_by_keyboard_alone(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("parser")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=parser**")
    expect(page.locator("mark")).to_have_text("parser")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/requests/r-1")
    page.keyboard.press("j")
    expect(page.locator('a.open[href="/requests/r-2"]')).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/requests/r-2")


def test_number_of_the_overview_leads_to_its_requests(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.get_by_role("row", name="haiku").get_by_role("link", name="haiku").click()
    page.wait_for_url(f"{url}/requests?period=7d&model=haiku")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_conversation_shows_the_call_and_its_changes(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.goto(f"{url}/requests/r-1")
    expect(page.get_by_text("path: /repo/sse.py", exact=True)).to_be_visible()
    thought = page.get_by_text("I should read the file.")
    expect(thought).to_be_hidden()
    page.get_by_text("Thinking").click()
    expect(thought).to_be_visible()
    page.goto(f"{url}/requests/r-2")
    page.get_by_role("link", name="Diff with previous").click()
    page.wait_for_url(f"{url}/requests/r-2/changes")
    expect(page.locator("pre .added")).to_have_text("+ Today is Saturday.")


def test_request_is_copied_as_a_curl_command(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.goto(f"{url}/requests/r-1")
    page.get_by_role("button", name="Copy as cURL").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "$ANTHROPIC_API_KEY" in copied


def test_exports_are_downloaded(open_page: OpenPage, url: str) -> None:
    page = open_page()
    page.goto(f"{url}/requests/r-1")
    for name, ending in (("Export", ".json"), ("Export conversation", ".html")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        path = Path(download.value.path())
        assert download.value.suggested_filename.endswith(ending)
        assert "/repo/sse.py" in path.read_text()
    page.goto(f"{url}/requests?model=haiku")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    (line,) = Path(download.value.path()).read_text().splitlines()
    assert json.loads(line)["id"] == "r-bob"


def test_person_signs_in_and_sees_no_records_of_others(
    open_page: OpenPage, url: str, tokens: Tokens, reports: MemoryReports
) -> None:
    page = open_page(signed_in=False)
    page.goto(f"{url}/requests")
    page.get_by_label("Access token").fill(tokens.make("alice"))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/requests")
    expect(page.locator("#live-state")).to_have_text("live")
    expect(page.locator("tbody tr")).to_have_count(2)
    reports.details += [recorded("r-secret", "bob"), recorded("r-own", "alice")]
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(page.get_by_text("bob")).to_have_count(0)
    response = page.goto(f"{url}/requests/r-bob")
    assert response
    assert response.status == 404
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{url}/login")
    page.goto(f"{url}/requests")
    expect(page.get_by_label("Access token")).to_be_visible()


def test_revoked_access_token_signs_out_a_live_page(
    open_page: OpenPage, url: str, tokens: Tokens
) -> None:
    page = open_page(signed_in=False)
    page.goto(f"{url}/requests")
    page.get_by_label("Access token").fill(tokens.make("alice"))
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#live-state")).to_have_text("live")
    tokens.revoke_all()
    expect(page.get_by_label("Access token")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: OpenPage, url: str, scheme: str) -> None:
    page = open_page(scheme=scheme)
    found = []
    for path in (*PATHS, "/login"):
        page.goto(url + path)
        found += [
            (path, each["id"], each["nodes"][0]["html"])
            for each in Axe().run(page).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert found == []


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_no_page_scrolls_sideways(
    open_page: OpenPage, url: str, reports: MemoryReports, size: tuple[int, int]
) -> None:
    long = "word" * 100
    reports.details.append(recorded(f"r-{long}", long, model=long, client=long, prompt=long))
    page = open_page(size=size)
    wide = {}
    for path in (*PATHS, f"/requests/r-{long}", "/login"):
        page.goto(url + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > size[0]:
            wide[path] = width
    assert wide == {}


def test_page_works_without_scripts(open_page: OpenPage, url: str) -> None:
    page = open_page(scripts=False)
    page.goto(f"{url}/requests?model=haiku")
    expect(page.locator("tbody tr")).to_have_count(1)
