"""Key pools learn from every failed response, whatever its body is."""

import warnings
from dataclasses import replace

import pytest
from mitmproxy import http

from aibridge_addon.access.keys.affinity import Affinity
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.credentials import Credential
from aibridge_addon.providers.routing import Route

with warnings.catch_warnings():  # of libraries that mitmproxy's addons import
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.test import tflow

    from aibridge_addon.exchange.client_request import ClientRequest
    from aibridge_addon.exchange.key_pools import KeyPools

KEYS = {"A": "sk-aaaaaaaaaaaaaaaa", "B": "sk-bbbbbbbbbbbbbbbb"}
OPENAI = next(provider for provider in DEFAULT_PROVIDERS if provider.name == "openai")
PROVIDER = replace(OPENAI, keys=tuple(CentralKey(env=name, organization=name) for name in KEYS))


@pytest.mark.parametrize("body", [b"", b"broken", b"\x1f\x8b broken"])
def test_key_is_set_aside_by_a_response_that_cannot_be_decoded(body: bytes) -> None:
    pools = KeyPools(environ=KEYS)
    pools.apply([PROVIDER])
    request = ClientRequest(
        flow=tflow.tflow(),
        route=Route(provider=PROVIDER, label="other", api=None, upstream=None),
        credential=Credential(kind="centralized", secret="x"),
        max_bytes=1_000,
    )
    pools.assign(request, Affinity(id="alice"))
    response = http.Response.make(401, b"", {"content-encoding": "gzip"})
    response.raw_content = body
    assert pools.learn(request, response)
    assert sorted(state["state"] for state in pools.states()) == ["ok", "set aside"]
