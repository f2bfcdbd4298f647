"""Signing with the operator's credentials: the chain, its renewal and its failures."""

import asyncio
import sys
from pathlib import Path

import pytest
from mitmproxy import http

from aibridge_addon.providers.builtin.bedrock import TYPE
from aibridge_addon.providers.instance import Provider
from aibridge_addon.relay.aws_signing import Scope, Signer, SigningError

SCOPE = Scope(service="bedrock", region="eu-central-1", profile=None)


@pytest.fixture(autouse=True)
def _no_aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "credentials").write_text(
        "[work]\naws_access_key_id = AKIAWORK\naws_secret_access_key = secret\n"
    )


def signed(scope: Scope) -> http.Request:
    request = http.Request.make(
        "POST",
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/a%3A0/invoke",
        b"{}",
        http.Headers(
            authorization="AWS4-HMAC-SHA256 old",
            x_amz_date="old",
            x_custom="1",
        ),
    )
    asyncio.run(Signer(scope).ready())(request)
    return request


def test_credentials_of_a_profile_sign_for_service_and_region() -> None:
    request = signed(Scope(service="bedrock", region="eu-central-1", profile="work"))
    values = request.headers.get_all("authorization")
    assert len(values) == 1
    assert "Credential=AKIAWORK/" in values[0]
    assert "/eu-central-1/bedrock/aws4_request" in values[0]
    assert "SignedHeaders=content-type;" not in values[0]
    assert request.headers.get_all("x-amz-date") != ["old"]
    assert request.headers["x-custom"] == "1"


def test_missing_credentials_are_named_in_the_error() -> None:
    with pytest.raises(SigningError, match="no AWS credentials were found"):
        signed(SCOPE)


def test_unknown_profile_is_named_in_the_error() -> None:
    with pytest.raises(SigningError, match="nowhere"):
        signed(Scope(service="bedrock", region="eu-central-1", profile="nowhere"))


def test_missing_library_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(SigningError, match=r"aibridge-addon\[bedrock\]"):
        signed(SCOPE)


def test_chain_is_asked_once_while_its_credentials_are_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    signer = Signer(SCOPE)
    looked_up = []

    def look_up(self: Signer) -> object:
        looked_up.append(1)
        return original(self)

    original = Signer._look_up
    monkeypatch.setattr(Signer, "_look_up", look_up)

    async def many() -> None:
        await asyncio.gather(*(signer.ready() for _ in range(5)))

    asyncio.run(many())
    assert len(looked_up) == 1


def test_mantle_is_signed_as_a_service_of_its_own() -> None:
    provider = Provider(
        name="m",
        type=TYPE.name,
        base_url="https://bedrock-mantle.us-east-1.api.aws",
        hosts=frozenset(),
        region="us-east-1",
    )
    assert Scope.of_provider(provider).service == "bedrock-mantle"
