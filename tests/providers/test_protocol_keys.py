"""Tests of keys among the protocols that a WebSocket offers."""

import pytest

from aibridge_addon.providers.credentials import own_credential
from aibridge_addon.providers.protocol_keys import (
    protocol_key,
    with_protocol_key,
    without_protocol_key,
)

OFFERED = "realtime, openai-insecure-api-key.sk-proj-1, openai-beta.realtime-v1"


def test_key_is_found_masked_and_removed_among_the_protocols() -> None:
    assert protocol_key(OFFERED) == "sk-proj-1"
    assert with_protocol_key(OFFERED, lambda key: "...") == (
        "realtime, openai-insecure-api-key...., openai-beta.realtime-v1"
    )
    assert without_protocol_key(OFFERED) == "realtime, openai-beta.realtime-v1"


@pytest.mark.parametrize(
    ("offered", "rest"),
    [
        ("openai-insecure-api-key.k", ""),
        ("openai-insecure-api-key.k,realtime", "realtime"),
        ("realtime,openai-insecure-api-key.k", "realtime"),
        ("realtime", "realtime"),
        ("", ""),
    ],
)
def test_other_protocols_stay(offered: str, rest: str) -> None:
    assert without_protocol_key(offered) == rest


def test_key_among_the_protocols_is_the_client_s_credential() -> None:
    credential = own_credential({"sec-websocket-protocol": OFFERED})
    assert credential
    assert (credential.secret, credential.kind) == ("sk-proj-1", "byok")
    assert own_credential({"sec-websocket-protocol": "realtime"}) is None
