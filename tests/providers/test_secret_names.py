"""Headers with secrets are recognised by their names, and those with figures and ids are not."""

import pytest

from aibridge_addon.providers.secret_names import is_secret_header, may_create_keys


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


@pytest.mark.parametrize(
    "path",
    [
        *("/api/oauth/claude_cli/create_api_key", "/v1/oauth/token", "/api/v1/keys?x=1"),
        *("/v1/organization/admin_api_keys", "/api/auth/session", "/v1alpha/authTokens:create"),
        *("/v1/organization/projects/p/service_accounts", "/openai/realtimeapi/sessions"),
    ],
)
def test_path_that_may_create_a_key_is_recognised(path: str) -> None:
    assert may_create_keys(path)


@pytest.mark.parametrize(
    "path", ["/v1/organization/usage", "/v1/authors", "/v1/monkeys", "/v1/x?key=token", "/"]
)
def test_other_path_creates_no_key(path: str) -> None:
    assert not may_create_keys(path)
