"""Access tokens while their store does not answer."""

import asyncio
import threading
from collections.abc import Mapping

import pytest

from aibridge_addon.access import token_cache
from aibridge_addon.access.token_cache import TokenCache
from aibridge_addon.access.tokens import AccessToken, TokenError


class Store:
    """A store of access tokens that can stop answering."""

    def __init__(self) -> None:
        self.text, token = AccessToken.make("alice")
        self.tokens = {token.id: token}
        self.answers = threading.Event()
        self.answers.set()

    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return the tokens, once the store answers."""
        assert self.answers.wait(30)
        return dict(self.tokens)


async def test_known_token_stays_valid_while_the_store_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(token_cache, "_WAIT_SECONDS", (0.02, 0.02))
    store = Store()
    cache = TokenCache(store)
    unknown, token = AccessToken.make("bob")
    store.tokens[token.id] = token
    store.answers.clear()

    for _ in range(2):
        await asyncio.wait_for(cache.refresh(0), 10)
    assert (await cache.authenticate(store.text)).initiator_id == "alice"
    with pytest.raises(TokenError):
        await asyncio.wait_for(cache.authenticate(unknown), 10)
    assert caplog.text.count("access tokens cannot be read, known ones stay valid") == 1

    store.answers.set()
    monkeypatch.setattr(token_cache, "_WAIT_SECONDS", (10.0, 10.0))
    assert (await cache.authenticate(unknown)).initiator_id == "bob"
