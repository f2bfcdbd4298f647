"""Access tokens: how they are made, told apart, limited, and what a refusal says."""

from dataclasses import replace

import pytest

from aibridge_addon.access.tokens import (
    AccessToken,
    TokenError,
    authenticate,
    check_valid,
    looks_like_token,
)

PAST, FUTURE = "2020-01-01T00:00:00.000000+00:00", "2999-01-01T00:00:00.000000+00:00"


def reason(check) -> str:
    with pytest.raises(TokenError) as raised:
        check()
    return raised.value.reason


def test_a_token_is_accepted_and_its_text_is_not_kept():
    text, token = AccessToken.make("alice", expires_at=FUTURE)

    assert authenticate(text, {token.id: token}) is token
    assert looks_like_token(text)
    assert text.startswith(f"aib_{token.id}_")
    assert text.rpartition("_")[2] not in repr(token)


def test_no_two_tokens_are_alike():
    texts = {AccessToken.make("alice")[0] for _ in range(100)}

    assert len(texts) == 100


@pytest.mark.parametrize("change", [str.upper, lambda text: text[:-1], lambda text: text + "A"])
def test_what_is_not_quite_a_token_is_not_known(change):
    text, token = AccessToken.make("alice")

    assert reason(lambda: authenticate(change(text), {token.id: token})) == "unknown_token"


def test_a_secret_of_another_token_is_not_known():
    (first, token), (second, _) = AccessToken.make("alice"), AccessToken.make("bob")
    crossed = first[:15] + second[15:]

    assert looks_like_token(crossed)
    assert reason(lambda: authenticate(crossed, {token.id: token})) == "unknown_token"
    assert reason(lambda: authenticate(second, {token.id: token})) == "unknown_token"


@pytest.mark.parametrize("text", ["", "aib", "sk-ant-api03-aib_", "aibridge"])
def test_keys_of_providers_do_not_look_like_tokens(text):
    assert not looks_like_token(text)


def test_an_expired_token_is_refused_and_whose_it_is_is_known():
    text, token = AccessToken.make("alice", expires_at=PAST)

    with pytest.raises(TokenError, match="expired at 2020-01-01T00:00 UTC") as raised:
        authenticate(text, {token.id: token})
    assert (raised.value.reason, raised.value.initiator_id) == ("expired_token", "alice")


def test_a_revoked_token_is_refused_whenever_it_would_have_expired():
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
def test_a_token_is_for_its_providers_and_models(providers, models, fits):
    _, token = AccessToken.make("alice", providers=providers, models=models)

    def check():
        token.check_limits(provider="anthropic", model="claude-haiku-4-5")

    if fits:
        check()
    else:
        assert reason(check) == "token_scope"


def test_a_model_that_is_not_known_fits_no_list_unless_any_will_do():
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
def test_where_nobody_looks_a_token_must_be_for_all_that_could_be_asked(scope, there, fits):
    _, token = AccessToken.make("alice", **scope)

    if fits:
        token.check_tunnel(there)
    else:
        assert reason(lambda: token.check_tunnel(there)) == "token_scope"
