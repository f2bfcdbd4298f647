"""JWTs for this proxy are found in headers, and those for providers are left alone."""

import base64
import time

from access.jwt.signing import ISSUER, issuer, token

from aibridge_addon.access.jwt.reading import jwts_in

ISSUERS = {ISSUER: issuer()}


def found(name: bytes, value: str) -> str:
    """Return the token that is found in a header field."""
    field = (name, value.encode())
    return jwts_in(((b"accept", b"*/*"), field), ISSUERS).get(field, "")


def test_token_for_this_proxy_is_found_in_any_header() -> None:
    text = token()
    assert found(b"X-AIBridge-Token", text) == text
    assert found(b"x-aibridge-token", f"Bearer {text}") == text
    assert found(b"Authorization", f"Bearer {text}") == text
    assert found(b"x-api-key", text) == text
    assert found(b"cookie", f"a=1; session={text}; b=2") == text


def test_token_in_a_login_is_found() -> None:
    text = token()
    for login in (f"user:{text}", f"{text}:"):
        value = "Basic " + base64.b64encode(login.encode()).decode()
        assert found(b"Authorization", value) == text


def test_token_that_is_too_large_to_be_verified_is_found() -> None:
    text = token(groups=["g" * 20_000])
    assert found(b"Authorization", f"Bearer {text}") == text


def test_token_for_somebody_else_in_a_credential_header_is_left_alone() -> None:
    for other in (
        token(iss="https://auth.openai.com", aud="https://api.openai.com/v1"),
        token(aud="https://cognitiveservices.azure.com"),
        "eyJ.eyJ.",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3Mi.x",
    ):
        assert found(b"authorization", f"Bearer {other}") == ""
        assert found(b"x-aibridge-token", other) == other


def test_token_for_several_audiences_or_for_none_is_ours() -> None:
    for audience in (["other", "aibridge"], None):
        text = token(aud=audience)
        assert found(b"authorization", f"Bearer {text}") == text


def test_search_of_a_hostile_header_takes_linear_time() -> None:
    started = time.process_time()
    for value in ("eyJ" * 100_000, "eyJ." * 75_000, "eyJa.eyJb." * 30_000, "eyJ" + "a" * 300_000):
        found(b"cookie", value)
    assert time.process_time() - started < 5
