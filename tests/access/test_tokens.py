"""Access tokens: creation, authentication, limits, and the reasons of refusals."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aibridge_addon.access.tokens import (
    AccessToken,
    TokenError,
    authenticate,
    check_valid,
    looks_like_token,
)

PAST, FUTURE = "2020-01-01T00:00:00.000000+00:00", "2999-01-01T00:00:00.000000+00:00"


def reason(check: Callable[[], object]) -> str:
    """Return the reason of the refusal that a check raises."""
    with pytest.raises(TokenError) as raised:
        check()
    return raised.value.reason


def test_new_access_token_is_accepted_and_its_text_is_not_stored() -> None:
    text, token = AccessToken.make("alice", expires_at=FUTURE)

    assert authenticate(text, {token.id: token}) is token
    assert looks_like_token(text)
    assert text.startswith(f"aib_{token.id}_")
    assert text.split("_", 2)[2] not in repr(token)


def test_access_tokens_are_unique() -> None:
    texts = {AccessToken.make("alice")[0] for _ in range(100)}

    assert len(texts) == 100


@pytest.mark.parametrize("change", [str.upper, lambda text: text[:-1], lambda text: text + "A"])
def test_changed_access_token_is_refused_as_unknown(change: Callable[[str], str]) -> None:
    text, token = AccessToken.make("alice")

    assert reason(lambda: authenticate(change(text), {token.id: token})) == "unknown_token"


def test_access_token_with_the_secret_of_another_is_refused_as_unknown() -> None:
    (first, token), (second, _) = AccessToken.make("alice"), AccessToken.make("bob")
    crossed = first[:15] + second[15:]

    assert looks_like_token(crossed)
    assert reason(lambda: authenticate(crossed, {token.id: token})) == "unknown_token"
    assert reason(lambda: authenticate(second, {token.id: token})) == "unknown_token"


@pytest.mark.parametrize("text", ["", "aib", "sk-ant-api03-aib_", "aibridge"])
def test_provider_keys_do_not_look_like_access_tokens(text: str) -> None:
    assert not looks_like_token(text)


def test_expired_access_token_is_refused_with_its_owner() -> None:
    text, token = AccessToken.make("alice", expires_at=PAST)

    with pytest.raises(TokenError, match="expired at 2020-01-01T00:00 UTC") as raised:
        authenticate(text, {token.id: token})
    assert (raised.value.reason, raised.value.initiator_id) == ("expired_token", "alice")


def test_revoked_access_token_is_refused_before_it_expires() -> None:
    _, token = AccessToken.make("alice", expires_at=FUTURE)

    assert reason(lambda: check_valid(replace(token, revoked_at=PAST))) == "revoked_token"


@pytest.mark.parametrize(
    ("providers", "models", "fits"),
    [
        ((), (), True),
        (("anthropic",), (), True),
        (("anth*",), ("claude-*",), True),
        (("openai",), (), False),
        ((), ("gpt-*", "claude-haiku-4-5"), True),
        ((), ("claude-opus-*",), False),
    ],
)
def test_access_token_limits_allow_matching_providers_and_models_only(
    providers: tuple[str, ...], models: tuple[str, ...], fits: bool
) -> None:
    _, token = AccessToken.make("alice", providers=providers, models=models)

    def check() -> None:
        token.check_limits(provider="anthropic", model="claude-haiku-4-5")

    if fits:
        check()
    else:
        assert reason(check) == "token_scope"


def test_unknown_model_is_excluded_by_model_limits_unless_any_model_is_allowed() -> None:
    _, token = AccessToken.make("alice", models=("claude-*",))

    assert reason(lambda: token.check_limits(provider="anthropic", model=None)) == "token_scope"
    token.check_limits(provider="anthropic", model=None, any_model=True)


@pytest.mark.parametrize(
    ("scope", "there", "fits"),
    [
        ({}, ("anthropic", "openai"), True),
        ({"providers": ("openai",)}, ("openai",), True),
        ({"providers": ("openai",)}, ("anthropic", "openai"), False),
        ({"providers": ("openai",)}, (), True),
        ({"models": ("gpt-*",)}, ("openai",), False),
        ({"models": ("gpt-*",)}, (), True),
    ],
)
def test_tunnel_requires_an_access_token_without_limits_for_its_providers(
    scope: dict[str, Any], there: tuple[str, ...], fits: bool
) -> None:
    _, token = AccessToken.make("alice", **scope)

    if fits:
        token.check_tunnel(there)
    else:
        assert reason(lambda: token.check_tunnel(there)) == "token_scope"
