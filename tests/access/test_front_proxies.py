"""Actors that a trusted front proxy names."""

from ipaddress import ip_network

import pytest

from aibridge_addon.access.front_proxies import FrontProxy, actor_of_front_proxy
from aibridge_addon.providers.identity import Actor, actor_of

PROXY = FrontProxy(
    networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    actor_header="x-forwarded-user",
    teams_header="x-forwarded-groups",
)
HEADERS = ((b"X-Forwarded-User", b" alice "), (b"X-Forwarded-Groups", b"search, ads,,"))


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1%eth0"])
def test_header_from_the_network_of_the_front_proxy_names_actor_and_teams(peer: str) -> None:
    actor = actor_of_front_proxy([PROXY], HEADERS, peer)
    assert actor == Actor(id="alice", metadata={"teams": ["search", "ads"]})
    assert actor.teams == ("search", "ads")


@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.1", "::1"])
def test_header_from_any_other_address_does_not_count(peer: str) -> None:
    assert actor_of_front_proxy([PROXY], HEADERS, peer) is None


def test_request_without_the_header_names_nobody() -> None:
    assert actor_of_front_proxy([PROXY], HEADERS[1:], "10.0.0.1") is None


@pytest.mark.parametrize("second", [(b"x-forwarded-user", b"bob"), (b"X-FORWARDED-GROUPS", b"x")])
def test_request_with_two_different_values_of_a_header_is_anonymous(
    second: tuple[bytes, bytes],
) -> None:
    for fields in ((*HEADERS, second), (second, *HEADERS)):
        assert actor_of_front_proxy([PROXY], fields, "10.0.0.1") == Actor(id="anonymous")
        assert actor_of_front_proxy([PROXY], fields, "192.0.2.1") is None
    assert actor_of_front_proxy([PROXY], HEADERS * 2, "10.0.0.1") == Actor(
        id="alice", metadata={"teams": ["search", "ads"]}
    )


def named(**values: object) -> Actor:
    given = {
        "proxy_user": None,
        "token_owner": None,
        "asserted": Actor(id="alice", metadata={"teams": ["search"]}),
        "header_value": "mallory",
        "credential": None,
        "known_actors": {"alice": Actor(id="a.smith", metadata={"level": 3})},
    }
    return actor_of(**given | values)  # type: ignore[arg-type]


def test_front_proxy_comes_after_logins_and_tokens_and_before_the_actor_header() -> None:
    assert named().id == "a.smith"
    assert named().metadata == {"level": 3, "teams": ["search"], "team": "search"}
    assert named(token_owner="bob").id == "bob"
    assert named(asserted=None).id == "mallory"
    assert named(asserted=Actor(id="anonymous")).id == "anonymous"


@pytest.mark.parametrize(
    ("teams", "own", "team"),
    [(["search"], {}, "search"), (["search", "ads"], {}, None), (["search"], {"team": "x"}, "x")],
)
def test_only_team_that_a_front_proxy_names_is_the_team_of_reports(
    teams: list[str], own: dict[str, str], team: str | None
) -> None:
    found = actor_of(
        proxy_user=None,
        token_owner=None,
        asserted=Actor(id="alice", metadata={"teams": teams}),
        header_value=None,
        credential=None,
        known_actors={"alice": Actor(id="alice", metadata=own)},
    )
    assert found.metadata.get("team") == team
