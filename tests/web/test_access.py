"""Access to the page: links, access tokens, sessions, host names, origins and headers."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from aibridge_addon.web.app import make_app
from aibridge_addon.web.links import VALID_SECONDS, Links, make_key
from aibridge_addon.web.login import local_path
from aibridge_addon.web.sessions import SESSION_SECONDS, Sessions
from aibridge_addon.web.site import Site
from web.conftest import ORIGIN, SECRET, SignIn, Tokens, make_browser

PAGES = ("/", "/requests", "/requests/r-alice", "/sessions", "/people", "/health")


def test_every_route_but_login_needs_a_session(site: Site, browser: TestClient) -> None:
    app = make_app(site)
    paths = [route.path for route in app.routes if isinstance(route, Route)]
    open_paths = {"/login", "/link", "/static/{name}", "/favicon.ico"}
    closed = [re.sub(r"\{.*?\}", "x", path) for path in paths if path not in open_paths]
    assert len(closed) > 8
    for path in [*closed, "/no-such-page", "/static/other.txt", "/static/../app.py"]:
        response = browser.get(path, follow_redirects=False)
        assert response.status_code in (303, 405), path
        assert response.headers["location"].startswith("/login?next="), path


def test_scripts_without_a_session_get_401(browser: TestClient) -> None:
    response = browser.get("/live", headers={"accept": "text/event-stream"}, follow_redirects=False)
    assert response.status_code == 401


def test_link_signs_the_operator_in_once(site: Site) -> None:
    key = make_key(SECRET)
    first, second = make_browser(site), make_browser(site)
    assert first.get(f"/link?key={key}").status_code == 200
    assert first.get("/").status_code == 200
    response = second.get(f"/link?key={key}")
    assert response.status_code == 403
    assert "used already" in response.text
    assert "Sign in" in second.get("/").text


def test_used_link_leads_a_signed_in_browser_to_the_page(site: Site) -> None:
    key, browser = make_key(SECRET), make_browser(site)
    browser.get(f"/link?key={key}")
    assert browser.get(f"/link?key={key}", follow_redirects=False).headers["location"] == "/"


def test_forged_link_is_refused(browser: TestClient) -> None:
    for key in ("", "x", "1.2.3", make_key(b"other" * 8), make_key(SECRET)[:-1] + "g"):
        assert browser.get("/link", params={"key": key}).status_code == 403


def test_links_expire_and_end_with_the_process() -> None:
    now = 1000.0
    links = Links(SECRET, clock=lambda: now)
    early, key = make_key(SECRET, 999), make_key(SECRET, 1001)
    assert not links.redeem(early), "made before the start, so it may have been used before"
    now += VALID_SECONDS + 2
    assert not links.redeem(key)
    assert links.redeem(make_key(SECRET, now))


def test_session_cookie_is_hidden_from_scripts_and_other_sites(site: Site) -> None:
    browser = make_browser(site)
    cookie = browser.get(f"/link?key={make_key(SECRET)}").headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "aibridge_session_8083"
    assert "HttpOnly" in rest
    assert "SameSite=strict" in rest
    assert len(rest.partition(";")[0]) >= 43


def test_sessions_end_after_a_week() -> None:
    now = 0.0
    sessions = Sessions(clock=lambda: now)
    session_id = sessions.start(None)
    assert sessions.find(session_id)
    assert sessions.find("other") is None
    now = SESSION_SECONDS
    assert sessions.find(session_id) is None


def test_sign_out_ends_the_session(operator: TestClient) -> None:
    cookies = dict(operator.cookies)
    operator.post("/logout")
    operator.cookies.update(cookies)
    assert operator.get("/", follow_redirects=False).status_code == 303


def test_login_form_refuses_an_unknown_access_token(browser: TestClient) -> None:
    response = browser.post("/login", data={"token": "aib_<script>alert(1)</script>"})
    assert response.status_code == 403
    assert "not known" in response.text
    assert "<script>alert" not in response.text
    assert "set-cookie" not in response.headers


def test_login_form_refuses_a_huge_body(browser: TestClient) -> None:
    assert browser.post("/login", data={"token": "x" * 100_000}).status_code == 403


@pytest.mark.parametrize("path", PAGES)
def test_viewer_sees_only_own_records(sign_in: SignIn, path: str) -> None:
    text = sign_in("alice").get(path).text
    assert "r-bob" not in text
    assert "bob" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/requests/r-bob",
        "/requests/r-bob/changes",
        "/requests/r-bob/export",
        "/sessions/s-2",
        "/sessions/s-2?actor=bob",
        "/sessions/s-2/export?actor=bob",
    ],
)
def test_viewer_cannot_open_records_of_others(sign_in: SignIn, path: str) -> None:
    response = sign_in("alice").get(path)
    assert response.status_code == 404
    assert "prompt of bob" not in response.text


@pytest.mark.parametrize("query", ["actor=bob", "session=s-2", "q=prompt", "actor=bob&period=all"])
def test_filters_do_not_widen_the_view(sign_in: SignIn, query: str) -> None:
    assert "prompt of bob" not in sign_in("alice").get(f"/requests?{query}").text
    assert "prompt of bob" not in sign_in("alice").get(f"/export?{query}").text


def test_admin_sees_all_records(sign_in: SignIn) -> None:
    text = sign_in("lead", admin=True).get("/requests").text
    assert "prompt of alice" in text
    assert "prompt of bob" in text


def test_only_admins_see_the_state_of_the_proxy(site: Site, sign_in: SignIn) -> None:
    assert "Proxy and record" not in sign_in("alice").get("/health").text


def test_revoked_access_token_signs_out(sign_in: SignIn, tokens: Tokens) -> None:
    browser = sign_in("alice")
    assert browser.get("/", follow_redirects=False).status_code == 200
    tokens.revoke_all()
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_expired_access_token_signs_out(site: Site, tokens: Tokens) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat(timespec="microseconds")
    browser = make_browser(site)
    text = tokens.make("alice", expires_at=soon)
    browser.post("/login", data={"token": text})
    while datetime.now(UTC).isoformat(timespec="microseconds") < soon:
        browser.get("/login")
    assert browser.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8083", True),
        ("localhost:8083", True),
        ("[::1]:8083", True),
        ("192.168.1.5:8083", True),
        ("page.corp.example", True),
        ("PAGE.corp.example.:8083", True),
        ("evil.example:8083", False),
        ("127.0.0.1.evil.example:8083", False),
        ("localhost.evil.example", False),
        ("page.corp.example@evil.example", False),
        ("", False),
    ],
)
def test_foreign_host_names_are_refused(browser: TestClient, host: str, *, allowed: bool) -> None:
    response = browser.get("/login", headers={"host": host})
    assert (response.status_code == 200) is allowed
    assert (response.status_code == 421) is not allowed


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_requests_of_foreign_pages_are_refused(
    browser: TestClient, headers: dict[str, str], path: str
) -> None:
    assert browser.post(path, data={"token": "x"}, headers=headers).status_code == 403


def test_request_without_an_origin_changes_nothing(site: Site) -> None:
    assert TestClient(make_app(site), ORIGIN).post("/logout").status_code == 403


def test_sign_out_needs_a_post(operator: TestClient) -> None:
    assert operator.get("/logout").status_code == 405


@pytest.mark.parametrize("path", ["/", "/login", "/no-such-page", "/live-not", "/static/style.css"])
def test_every_response_carries_the_headers_of_protection(operator: TestClient, path: str) -> None:
    headers = operator.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_not_stored_by_caches(operator: TestClient, path: str) -> None:
    assert operator.get(path).headers["cache-control"] == "no-store"


def test_static_files_are_cached_by_version(operator: TestClient) -> None:
    found = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{12})"', operator.get("/").text)
    assert found
    assert "immutable" in operator.get(found[1]).headers["cache-control"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_no_inline_script_or_style_and_load_nothing_from_elsewhere(
    operator: TestClient, path: str
) -> None:
    text = operator.get(path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text)
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", text)


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", ""]
)
def test_login_never_leads_to_another_site(target: str) -> None:
    assert local_path(target) == "/"


def test_login_leads_back_to_the_page(site: Site, tokens: Tokens) -> None:
    browser = make_browser(site)
    first = browser.get("/requests?model=opus&period=all", follow_redirects=False)
    response = browser.post(
        first.headers["location"], data={"token": tokens.make("alice")}, follow_redirects=False
    )
    assert response.headers["location"] == "/requests?model=opus&period=all"
