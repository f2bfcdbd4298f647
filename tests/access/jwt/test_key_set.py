"""Keys are fetched when they are needed, seldom, and survive an outage of their issuer."""

import asyncio

import pytest
from access.jwt.signing import public_key

from aibridge_addon.access.jwt.key_set import JWKSError, KeySet, PublishedKeys
from aibridge_addon.access.jwt.keys import find_key, usable_keys

URL = "https://login.example.com/keys"


class Issuer:
    """Publishes keys, and moves the clock of the key set."""

    def __init__(self, max_age: float | None = None) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.outcomes: list[str] = []
        self.keys: tuple[str, ...] | None = ("a",)
        """Key ids; None: the issuer is unavailable."""
        self.error: Exception = JWKSError("no route to host")
        self.max_age = max_age
        self.key_set = KeySet(URL, self.fetch, lambda: self.now, lambda _, how: self._count(how))

    async def fetch(self, url: str) -> PublishedKeys:
        assert url == URL
        self.fetches += 1
        await asyncio.sleep(0)
        if self.keys is None:
            raise self.error
        return PublishedKeys(tuple({"kid": kid} for kid in self.keys), self.max_age)

    async def knows(self, kid: str, after: float = 0.0) -> bool:
        """Return whether a key is found, after some time."""
        self.now += after
        return await self.key_set.find(kid) is not None

    def _count(self, outcome: str) -> None:
        self.outcomes.append(outcome)


async def test_known_keys_are_not_fetched_again() -> None:
    issuer = Issuer()
    assert all([await issuer.knows("a", 1) for _ in range(100)])
    assert issuer.fetches == 1


async def test_concurrent_requests_share_a_fetch() -> None:
    issuer = Issuer()
    assert all(await asyncio.gather(*(issuer.knows("a") for _ in range(50))))
    assert issuer.fetches == 1


async def test_new_key_of_the_issuer_is_found_at_its_first_use() -> None:
    issuer = Issuer()
    assert await issuer.knows("a")
    issuer.keys = ("a", "b")
    assert await issuer.knows("b", 31)
    assert issuer.fetches == 2


async def test_flood_of_unknown_key_ids_fetches_once_in_30_seconds() -> None:
    issuer = Issuer()
    found = [await issuer.knows(f"random-{number}", 0.1) for number in range(1000)]
    assert not any(found)
    assert issuer.fetches <= 5
    assert await issuer.knows("a")


async def test_keys_are_fetched_in_the_background_before_they_are_too_old() -> None:
    issuer = Issuer()
    assert await issuer.knows("a")
    issuer.keys = ("b",)
    assert await issuer.knows("a", 250)
    for _ in range(5):
        await asyncio.sleep(0)
    assert issuer.fetches == 2
    assert not await issuer.knows("a")


async def test_key_that_the_issuer_has_withdrawn_ends_with_the_lifetime() -> None:
    issuer = Issuer()
    assert await issuer.knows("a")
    issuer.keys = ("b",)
    assert not await issuer.knows("a", 301)


async def test_lifetime_that_the_issuer_states_is_bounded() -> None:
    for max_age, lifetime in ((None, 300), (0, 300), (600, 600), (86_400, 900)):
        issuer = Issuer(max_age)
        assert await issuer.knows("a")
        assert await issuer.knows("a", lifetime * 0.79)
        assert issuer.fetches == 1
        assert await issuer.knows("a", lifetime * 0.22)
        assert issuer.fetches == 2


async def test_keys_are_used_for_a_day_while_the_issuer_is_unavailable() -> None:
    issuer = Issuer()
    assert await issuer.knows("a")
    issuer.keys = None
    assert await issuer.knows("a", 80_000)
    assert not await issuer.knows("a", 6_500)
    assert not issuer.key_set.has_keys
    issuer.keys = ("a",)
    assert await issuer.knows("a", 31)
    assert issuer.outcomes == ["ok", "failed", "failed", "ok"]


def test_only_public_keys_of_key_pairs_for_signatures_are_usable() -> None:
    good = public_key("RSA")
    others: list[dict[str, object]] = [
        {"kty": "oct", "k": "c2VjcmV0"},
        good | {"use": "enc"},
        good | {"d": "published by mistake"},
        {},
    ]
    assert usable_keys([good, *others]) == (good,)
    assert usable_keys([public_key("RSA", use="sig")])


def test_key_without_an_id_is_found_only_if_there_is_no_other() -> None:
    first, second = public_key("RSA"), public_key("EC")
    assert find_key([first], None) == first
    assert find_key([first, second], None) is None
    assert find_key([first], "") is None


async def test_known_keys_are_used_although_a_fetch_fails_by_a_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer()
    assert await issuer.knows("a")
    issuer.keys = None
    issuer.error = RuntimeError("a bug")
    assert await issuer.knows("a", 1_000)
    assert issuer.outcomes == ["ok", "failed"]
    assert "internal error" in caplog.text
