"""Headers with secrets are recognised by their names, and those with figures and ids are not."""

import pytest

from aibridge_addon.providers.secret_names import is_secret_header


@pytest.mark.parametrize(
    "name",
    [
        *("set-cookie", "x-session-token", "x-auth-token", "openai-ephemeral-user-key"),
        *("x-goog-iam-authorization-token", "x-serverless-authorization", "x-portkey-virtual-key"),
        *("cf-access-jwt-assertion", "cf-access-client-secret", "x-amz-security-token"),
        *("openai-sentinel-proof-token", "x_api_key", "helicone-auth", "apikey"),
    ],
)
def test_header_that_is_named_like_a_secret_is_one(name: str) -> None:
    assert is_secret_header(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        *("x-ratelimit-remaining-tokens", "anthropic-ratelimit-output-tokens-reset"),
        *("x-amzn-bedrock-input-token-count", "fireworks-cached-prompt-tokens", "retry-after"),
        *("request-id", "content-type", "idempotency-key", "sec-websocket-key", "x-codex-turn-id"),
        *("anthropic-organization-id", "x-claude-code-session-id", "www-authenticate", "etag"),
    ],
)
def test_header_with_a_figure_or_an_id_is_no_secret(name: str) -> None:
    assert not is_secret_header(name.encode())
