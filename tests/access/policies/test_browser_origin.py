"""Refusals of web pages, by the headers that a browser sends with their requests."""

import dataclasses
from typing import Any

import pytest

from aibridge_addon.access.policies import Asked, BrowserOrigin
from aibridge_addon.access.policies.browser_origin import normalized_origin
from aibridge_addon.access.sender import Admission, Sender
from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.identity import Actor
from aibridge_addon.providers.routing import Router

ROUTE = Router(DEFAULT_PROVIDERS).reverse("/anthropic/v1/messages", "POST")
assert ROUTE
ASKED = Asked(
    sender=Sender(actor=Actor(id="anonymous"), admission=Admission(headers={})),
    route=ROUTE,
    credential=Credential(kind="centralized", secret="sk-central"),
    method="POST",
    path="/v1/messages",
    fields=(),
    hosts=("127.0.0.1:8081",),
    to_reverse_proxy=True,
    content=lambda: b"{}",
    must_name_model=True,
    is_recorded=True,
)
POLICY = BrowserOrigin(
    allowed_origins=frozenset({"https://app.example.com", "app://notes"}),
    allowed_hosts=frozenset({"proxy.example.com"}),
)


def reason(policy: BrowserOrigin = POLICY, *fields: tuple[str, str], **changes: Any) -> str | None:
    """Return the reason for refusing a request with these header fields; None if admitted."""
    written = tuple((name.encode(), value.encode()) for name, value in fields)
    refusal = policy.check(dataclasses.replace(ASKED, fields=written, **changes))
    assert refusal is None or (refusal.status, refusal.denies_access) == (403, True)
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8081", "localhost.", "a.localhost:1", "127.0.0.1", "[::1]:8081"),
        *("127.1:8081", "10.1.2.3:8081", "[fe80::1]", "proxy.example.com", "Proxy.Example.com.:1"),
    ],
)
def test_loopback_addresses_and_listened_names_are_hosts_of_the_proxy(host: str) -> None:
    assert reason(hosts=(host,)) is None


@pytest.mark.parametrize(
    "hosts",
    [
        ("evil.example",),
        ("localhost.evil.example:8081",),
        ("127.0.0.1.evil.example",),
        ("evil.example@127.0.0.1",),
        ("127.0.0.1@evil.example",),
        ("sub.proxy.example.com",),
        ("evil.example", "127.0.0.1:8081"),
        ("127.0.0.1:8081", "evil.example"),
        ("[evil",),
    ],
)
def test_rebound_host_name_is_refused_in_any_named_host(hosts: tuple[str, ...]) -> None:
    assert reason(hosts=hosts) == "foreign_host"


def test_star_allows_any_host_name() -> None:
    assert reason(BrowserOrigin(allowed_hosts=frozenset({"*"})), hosts=("evil.example",)) is None


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8081"),
        *("http://127.0.0.1.evil.example:8081", "http://evil.example:8081", "file://", "x"),
        *("https://app.example.com.evil.example", "http://app.example.com", "https://127.0.0.1"),
    ],
)
@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "same-origin"])
def test_foreign_origin_is_refused(origin: str, site: str) -> None:
    fields = [("Origin", origin), *([("Sec-Fetch-Site", site)] if site else [])]
    assert reason(POLICY, *fields) == "foreign_origin"


def test_foreign_origin_is_refused_even_with_an_allowed_origin_in_the_same_request() -> None:
    both = [("origin", "https://app.example.com"), ("origin", "https://evil.example")]
    assert reason(POLICY, *both) == "foreign_origin"


@pytest.mark.parametrize(
    "origin", ["https://app.example.com", "HTTPS://App.Example.com:443", "app://notes"]
)
def test_allowed_cross_site_origin_is_admitted(origin: str) -> None:
    assert reason(POLICY, ("origin", origin), ("sec-fetch-site", "cross-site")) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8081", "127.0.0.1:8081"),
        ("https://proxy.example.com:8081", "proxy.example.com:8081"),
        ("https://proxy.example.com", "proxy.example.com"),
        ("https://proxy.example.com", "proxy.example.com:443"),
        ("http://localhost", "localhost:80"),
    ],
)
def test_origin_of_the_proxy_itself_is_admitted(origin: str, host: str) -> None:
    fields = [("origin", origin), ("sec-fetch-site", "same-origin")]
    assert reason(POLICY, *fields, hosts=(host,)) is None


@pytest.mark.parametrize("site", ["cross-site", "Cross-Site", " cross-site "])
def test_cross_site_request_without_an_origin_is_refused(site: str) -> None:
    assert reason(POLICY, ("sec-fetch-site", site)) == "foreign_origin"


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site"])
def test_same_site_or_user_initiated_request_without_an_origin_is_admitted(site: str) -> None:
    assert reason(POLICY, ("sec-fetch-site", site)) is None


FOREIGN = [("origin", "https://evil.example")]


@pytest.mark.parametrize("credential", [None, Credential(kind="byok", secret="sk-own")])
def test_origin_is_not_checked_without_central_key_and_central_tools(credential: Any) -> None:
    assert reason(POLICY, *FOREIGN, credential=credential, hosts=("evil.example",)) is None
    tools = {"credential": credential, "uses_central_tools": True}
    assert reason(POLICY, *FOREIGN, **tools) == "foreign_origin"


def test_access_token_replaces_the_origin_and_host_checks() -> None:
    _, token = AccessToken.make("alice")
    sender = Sender(actor=Actor(id="alice"), admission=Admission(headers={}, token=token))
    assert reason(POLICY, *FOREIGN, sender=sender, hosts=("evil.example",)) is None


def test_proxy_login_replaces_the_host_check_but_not_the_origin_check() -> None:
    """Browsers add a login that they know to requests of any page."""
    sender = Sender(actor=Actor(id="alice"), admission=Admission(headers={}, has_login=True))
    assert reason(POLICY, sender=sender, hosts=("team.example",)) is None
    assert reason(POLICY, *FOREIGN, sender=sender) == "foreign_origin"


def test_forward_mode_checks_the_origin_but_not_the_host() -> None:
    forward = {
        "to_reverse_proxy": False,
        "hosts": ("api.anthropic.com",),
        "credential": None,
        "uses_central_tools": True,
    }
    assert reason(POLICY, **forward) is None
    assert reason(POLICY, ("origin", "https://api.anthropic.com"), **forward) is None
    assert reason(POLICY, *FOREIGN, **forward) == "foreign_origin"


def test_origins_are_compared_in_lower_case_without_the_default_port() -> None:
    assert normalized_origin("HTTPS://App.Example:443") == "https://app.example"
    assert normalized_origin("http://app.example:443") == "http://app.example:443"
