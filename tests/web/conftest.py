"""Fixtures: the page on requests in memory, and browsers that are signed in."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from report.rows import detail, request_row
from starlette.testclient import TestClient

from aibridge_addon.access.token_cache import TokenCache
from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.facts import now
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import InterceptionDetail
from aibridge_addon.web.app import make_app
from aibridge_addon.web.links import make_key
from aibridge_addon.web.site import Site, make_site
from web.memory import MemoryReports

ORIGIN = "http://127.0.0.1:8083"
SECRET = b"s" * 32
type SignIn = Callable[..., TestClient]


class Tokens:
    """Access tokens in memory."""

    def __init__(self) -> None:
        self.known: dict[str, AccessToken] = {}

    def make(self, actor: str, *, admin: bool = False, expires_at: str | None = None) -> str:
        """Create an access token; return its text."""
        text, token = AccessToken.make(actor, admin=admin, expires_at=expires_at)
        self.known[token.id] = token
        return text

    def revoke_all(self) -> None:
        """Revoke all access tokens."""
        self.known = {k: replace(token, revoked_at=now()) for k, token in self.known.items()}

    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id."""
        return dict(self.known)


def recorded(request_id: str, actor: str = "alice", **changes: object) -> InterceptionDetail:
    """Return a request of just now."""
    figures = Figures(
        requests=1, completed=1, calls=1, input=1000, output=50, cost_nano_usd=12_300_000
    )
    values = {
        "figures": replace(figures, latest=now()),
        "started_at": now(),
        "prompt": f"prompt of {actor}",
    }
    return detail(row=request_row(id=request_id, actor=actor, **(values | changes)))


@pytest.fixture(autouse=True)
def _access_tokens_are_read_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenCache.refresh, "__defaults__", (0.0,))


@pytest.fixture
def reports() -> MemoryReports:
    """Requests of two people."""
    return MemoryReports(recorded("r-alice"), recorded("r-bob", "bob", session="s-2"))


@pytest.fixture
def tokens() -> Tokens:
    """Access tokens, none at first."""
    return Tokens()


@pytest.fixture
def site(reports: MemoryReports, tokens: Tokens) -> Site:
    """The site."""
    return make_site(reports, tokens, secret=SECRET)


@pytest.fixture
def browser(site: Site) -> TestClient:
    """A browser that is not signed in."""
    return make_browser(site)


@pytest.fixture
def operator(browser: TestClient) -> TestClient:
    """The operator's browser, signed in with a link."""
    assert browser.get(f"/link?key={make_key(SECRET)}").status_code == 200
    return browser


@pytest.fixture
def sign_in(site: Site, tokens: Tokens) -> SignIn:
    """Sign in with a new access token."""

    def sign_in(actor: str, *, admin: bool = False) -> TestClient:
        signed_in = make_browser(site)
        response = signed_in.post("/login", data={"token": tokens.make(actor, admin=admin)})
        assert response.status_code == 200, response.text
        return signed_in

    return sign_in


def make_browser(site: Site) -> TestClient:
    """Return a browser with its own cookies, which sends the origin of our pages."""
    headers = {"accept": "text/html", "origin": ORIGIN}
    return TestClient(make_app(site, ["page.corp.example"]), ORIGIN, headers=headers)
