"""Fallbacks of requests whose path names the model: only the named parts change."""

import dataclasses
import logging
import warnings
from typing import Any

import pytest
from access.policies.test_rate_limits import asked_by
from store.doubles import started

from aibridge_addon.access.model_rule import ModelRule
from aibridge_addon.access.selection import Selection
from aibridge_addon.formats import FORMATS
from aibridge_addon.providers.credentials import OPERATOR, Credential
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.resend_rules import Fallback, ResendRules
from aibridge_addon.providers.routing import Router
from aibridge_addon.raw_json import members

with warnings.catch_warnings():  # of libraries that mitmproxy's addons import
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy import http
    from mitmproxy.test import tflow

    from aibridge_addon.exchange.client_request import ClientRequest
    from aibridge_addon.exchange.fallbacks import Fallbacks
    from aibridge_addon.exchange.key_pools import KeyPools
    from aibridge_addon.exchange.read_request import ReadRequest
    from aibridge_addon.exchange.request_signing import RequestSigning
    from aibridge_addon.relay.aws_signing import SigningError
    from aibridge_addon.relay.further_send import OriginalRequest

CENTRAL = Credential(kind="centralized", secret="sk-of-the-first-instance")
BODY = b'{ "contents" : [] }'


def of_type(type_: str, first: str, other: str, **values: Any) -> tuple[Provider, Provider]:
    """Return an instance that falls back from `m-1` to `m-2` of another one."""
    fallback = Fallback(provider="other", models={"m-1": "m-2"}, on=frozenset({"overload"}))
    made = Provider(
        name="first",
        type=type_,
        base_url=first,
        hosts=frozenset(),
        resend=ResendRules(fallbacks=(fallback,)),
        anthropic_path=values.get("anthropic_path"),
    )
    there = Provider(name="other", type=type_, base_url=other, hosts=frozenset())
    return made, dataclasses.replace(there, **{"api_key_env": "OTHER_KEY", **values})


def read(
    providers: tuple[Provider, ...],
    path: str,
    body: bytes,
    *,
    credential: Credential = CENTRAL,
    is_signed: bool = False,
) -> ReadRequest:
    route = Router(providers).reverse(path, "POST")
    assert route is not None
    assert route.upstream is not None
    upstream = route.upstream
    request = http.Request.make(
        "POST",
        f"{upstream.scheme}://{upstream.host}:{upstream.port}{upstream.path}",
        body,
        http.Headers(host=upstream.host, authorization="Bearer sk-o...ance"),
    )
    client = ClientRequest(
        flow=tflow.tflow(req=request),
        route=route,
        max_bytes=10000,
        credential=credential,
        is_signed=is_signed,
        needs_signature=credential is OPERATOR,
    )
    return ReadRequest(
        client=client,
        wire_format=FORMATS[route.api or ""],
        interception=started(),
        asked=dataclasses.replace(asked_by("alice"), route=route),
        members=members(body) or {},
        original=OriginalRequest(request.headers.fields, body),
        is_partial=False,
    )


def fallbacks(providers: tuple[Provider, ...], signing: RequestSigning | None = None) -> Fallbacks:
    made = Fallbacks(KeyPools(), signing or RequestSigning())
    made.apply_settings(providers)
    return made


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "key-of-the-other-host")


GEMINI = of_type("gemini", "https://a.example/base", "https://b.example")
VERTEX = of_type(
    "vertex", "https://aiplatform.googleapis.com", "https://europe-west4-aiplatform.googleapis.com"
)
MULTI = of_type("vertex", "https://us-east5-aiplatform.googleapis.com", "https://x.example")
PROJECT = "/v1/projects/p/locations/LOCATION/publishers"
AZURE = of_type(
    "azure", "https://a.openai.azure.com", "https://b.openai.azure.com", models={"m-2": "gpt-5"}
)
ANTHROPIC = of_type("anthropic", "https://a.example", "https://b.example/api")
DEEPSEEK = of_type(
    "openai", "https://a.example/v1", "https://b.example/v1", anthropic_path="/messages-api"
)


@pytest.mark.parametrize(
    ("providers", "path", "expected"),
    [
        (
            GEMINI,
            "/v1beta/models/m-1:streamGenerateContent?alt=sse",
            "https://b.example/v1beta/models/m-2:streamGenerateContent?alt=sse",
        ),
        (
            GEMINI,
            "/v1/models/m-1%3AgenerateContent?prettyPrint=false",
            "https://b.example/v1/models/m-2%3AgenerateContent?prettyPrint=false",
        ),
        (
            VERTEX,
            f"{PROJECT}/google/models/m-1:generateContent".replace("LOCATION", "global"),
            "https://europe-west4-aiplatform.googleapis.com"
            f"{PROJECT}/google/models/m-2:generateContent".replace("LOCATION", "europe-west4"),
        ),
        (
            VERTEX,
            f"{PROJECT}/anthropic/models/m-1:streamRawPredict".replace("LOCATION", "global"),
            "https://europe-west4-aiplatform.googleapis.com"
            f"{PROJECT}/anthropic/models/m-2:streamRawPredict".replace("LOCATION", "europe-west4"),
        ),
        (
            MULTI,  # a host of one's own says nothing about locations
            f"{PROJECT}/google/models/m-1:generateContent".replace("LOCATION", "us-east5"),
            f"https://x.example{PROJECT}/google/models/m-2:generateContent".replace(
                "LOCATION", "us-east5"
            ),
        ),
        (
            AZURE,
            "/openai/deployments/m-1/chat/completions?api-version=2025-04-01-preview",
            "https://b.openai.azure.com/openai/deployments/m-2/chat/completions"
            "?api-version=2025-04-01-preview",
        ),
    ],
    ids=["gemini", "gemini-escaped", "vertex", "vertex-claude", "vertex-own-host", "azure"],
)
def test_fallback_changes_the_model_in_the_path_and_leaves_the_rest(
    providers: tuple[Provider, Provider], path: str, expected: str
) -> None:
    request = read(providers, "/first" + path, BODY)
    made = fallbacks(providers)
    [option] = made.options_of(request)
    model = made.apply(request, option)

    sent = request.client.flow.request
    assert sent.url == expected
    assert sent.raw_content == BODY
    assert request.asked.path == sent.path
    assert request.asked.model == model == providers[1].model_of("m-2")
    assert request.client.served_by == "other/m-2"
    location = request.client.location
    assert location == ("europe-west4" if providers is VERTEX else None)
    labels = request.client.as_sent(request.interception).billing_labels
    assert labels == ({"inference_geo": location} if location else {})


@pytest.mark.parametrize(
    ("providers", "path", "expected"),
    [
        (ANTHROPIC, "/v1/messages?beta=true", "https://b.example/api/v1/messages?beta=true"),
        (DEEPSEEK, "/v1/chat/completions", "https://b.example/v1/chat/completions"),
        (DEEPSEEK, "/v1/responses", "https://b.example/v1/responses"),
        (DEEPSEEK, "/anthropic/v1/messages", "https://b.example/messages-api/v1/messages"),
    ],
    ids=["messages", "chat", "responses", "messages-of-a-host-of-both"],
)
def test_fallback_keeps_the_query_and_serves_the_same_api(
    providers: tuple[Provider, Provider], path: str, expected: str
) -> None:
    body = b'{ "max_tokens": 1.0, "model" : "m-1" }'
    request = read(providers, "/first" + path, body)
    made = fallbacks(providers)
    [option] = made.options_of(request)
    made.apply(request, option)

    sent = request.client.flow.request
    assert (sent.url, sent.raw_content) == (expected, body.replace(b"m-1", b"m-2"))
    assert request.members == members(sent.raw_content or b""), "later edits begin with them"
    original = http.Headers(request.original.fields)
    assert original["host"] == "b.example"
    assert "sk-o...ance" not in str(original), "the key of the first instance stays there"
    assert request.original.body == sent.raw_content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1beta/models/m-1:generateContent", BODY),
        ("/v1beta/openai/chat/completions", b'{"model": "m-1"}'),
    ],
    ids=["path", "body"],
)
def test_second_fallback_serves_the_requested_model_after_the_first_one(
    path: str, body: bytes
) -> None:
    rules = ResendRules(
        fallbacks=(
            Fallback(provider="other", models={"m-1": "m-2"}, on=frozenset({"overload"})),
            Fallback(provider="third", models={"m-1": "m-3"}, on=frozenset({"overload"})),
        )
    )
    first = dataclasses.replace(GEMINI[0], resend=rules)
    third = dataclasses.replace(GEMINI[1], name="third", base_url="https://c.example")
    providers = (first, GEMINI[1], third)
    request = read(providers, "/first" + path, body)
    made = fallbacks(providers)
    assert [made.apply(request, option) for option in made.options_of(request)] == ["m-2", "m-3"]

    sent = request.client.flow.request
    assert sent.url == "https://c.example" + path.replace("m-1", "m-3")
    assert sent.raw_content == body.replace(b"m-1", b"m-3")
    assert request.client.served_by == "third/m-3"


@pytest.mark.parametrize("requested", ["large", "m-1"])
def test_fallback_serves_the_model_that_an_alias_stands_for(requested: str) -> None:
    body = b'{"model": "%s"}' % requested.encode()
    request = read(ANTHROPIC, "/first/v1/messages", body)
    request.asked = dataclasses.replace(request.asked, model=requested)
    rule = ModelRule(selection=Selection(), aliases={"large": "m-1", "m-1": "m-0"})
    made = fallbacks(ANTHROPIC)
    made.apply_settings(ANTHROPIC, [rule])
    [option] = made.options_of(request)
    made.apply(request, option)
    assert request.client.flow.request.raw_content == b'{"model": "m-2"}'


@pytest.mark.parametrize(
    ("providers", "path", "body"),
    [
        (GEMINI, "/v1beta/models/m-1:batchGenerateContent", BODY),
        (GEMINI, "/v1beta/cachedContents", b'{"model": "m-1"}'),
        (GEMINI, "/v1beta/models/m-3:generateContent", BODY),
        (GEMINI, "/v1beta/interactions", b'{"model": "m-1", "background": true}'),
        (DEEPSEEK, "/v1/responses", b'{"model": "m-1", "background": true}'),
        (GEMINI, "/v1beta/tunedModels/m-1:generateContent", BODY),
        (of_type("gemini", "https://a.example", ""), "/v1beta/models/m-1:generateContent", BODY),
        (
            (
                of_type("openai", "https://a.example/v1", "", anthropic_path="")[0],
                of_type("openai", "", "https://b.example/v1")[1],
            ),
            "/anthropic/v1/messages",
            b'{"model": "m-1"}',
        ),
    ],
    ids=[
        "batch",
        "cache",
        "other-model",
        "interaction",
        "background",
        "tuned-model",
        "without-url",
        "api-not-spoken",
    ],
)
def test_request_that_another_instance_cannot_serve_has_no_fallback(
    providers: tuple[Provider, Provider], path: str, body: bytes
) -> None:
    request = read(providers, "/first" + path, body)
    assert fallbacks(providers).options_of(request) == []


BEDROCK = of_type(
    "bedrock",
    "https://bedrock-runtime.us-east-1.amazonaws.com",
    "https://bedrock-runtime.eu-west-1.amazonaws.com",
    api_key_env=None,
    region="eu-west-1",
)
CONVERSE = "/first/model/m-1/converse-stream"


def test_request_that_a_client_has_signed_does_not_fall_back_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = fallbacks(BEDROCK)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            request = read(BEDROCK, CONVERSE, BODY, is_signed=True)
            assert made.options_of(request) == []
    [record] = caplog.records
    assert "the fallbacks of first do not serve the requests of alice" in record.message


class Signing(RequestSigning):
    """Signs requests to one region, and has no credentials for others."""

    async def signer_for(self, provider: Provider) -> Any:
        if provider.region != "eu-west-1":
            raise SigningError("no AWS credentials were found")
        return lambda request: request.headers.__setitem__("authorization", "signed")


async def test_fallback_is_signed_with_the_operators_credentials_for_its_own_region() -> None:
    made = fallbacks(BEDROCK, Signing())
    for credential in (OPERATOR, CENTRAL):
        request = read(BEDROCK, CONVERSE, BODY, credential=credential)
        option = await made.find(made.options_of(request), "overload")
        assert option
        made.apply(request, option)
        outgoing = request.client.outgoing()
        assert (outgoing.headers["authorization"], outgoing.host) == ("signed", BEDROCK[1].host)
        assert outgoing.path == "/model/m-2/converse-stream"
        assert request.client.credential is OPERATOR


async def test_signed_fallback_without_credentials_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = dataclasses.replace(BEDROCK[1], region="eu-north-1")
    made = fallbacks((BEDROCK[0], other), Signing())
    request = read((BEDROCK[0], other), CONVERSE, BODY, credential=OPERATOR)
    assert await made.find(made.options_of(request), "overload") is None
    assert "no fallback to other: no AWS credentials were found" in caplog.text


async def test_key_in_place_of_a_signature_ends_the_signing() -> None:
    other = dataclasses.replace(BEDROCK[1], api_key_env="OTHER_KEY")
    made = fallbacks((BEDROCK[0], other), Signing())
    request = read((BEDROCK[0], other), CONVERSE, BODY, credential=OPERATOR)
    option = await made.find(made.options_of(request), "overload")
    assert option
    made.apply(request, option)
    assert (request.client.needs_signature, request.client.sign) == (False, None)
    assert request.client.outgoing().headers["authorization"] == "Bearer key-of-the-other-host"
