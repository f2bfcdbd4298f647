"""Provider types of the package: their routes and hosts, and models behind other names."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from aibridge_addon.access.named_models import models_of
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.credentials import SECRET_FIELDS
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.routing import Router

ROUTER: Any = Router(DEFAULT_PROVIDERS)
MESSAGES, CHAT, RESPONSES = "anthropic_messages", "openai_chat", "openai_responses"
INVOKE, CONVERSE = "bedrock_invoke", "bedrock_converse"
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
BODY = b'{"model": "our-chat", "fallback_model": "unlisted"}'
GLOBAL = "aiplatform.googleapis.com"
ANTHROPIC = "/v1/projects/p/locations/global/publishers/anthropic/models"
OPENAI = ANTHROPIC.replace("publishers/anthropic/models", "publishers/openai/v1")
WORKSPACE = "/v1/projects/p/locations/l/workspaces/w/invoke"
CLAUDE = "claude-sonnet-4-5@20250929"
ENCODED = quote(ARN, safe="")
GEMINI, PRO = "gemini", "gemini-2.5-pro"
GOOGLE = "generativelanguage.googleapis.com"
VERTEX = "/v1/projects/p/locations/eu/publishers/google/models/"


@pytest.mark.parametrize(
    ("host", "path", "api", "model"),
    [
        ("a.openai.azure.com", "/openai/deployments/d/chat/completions?api-version=1", CHAT, "d"),
        ("a.openai.azure.com", "/openai/deployments/a%20b/chat/completions", CHAT, "a b"),
        ("a.cognitiveservices.azure.com", "/openai/v1/chat/completions", CHAT, None),
        ("a.openai.azure.com", "/openai/responses?api-version=1", RESPONSES, None),
        ("a.openai.azure.com", "/openai/v1/responses", RESPONSES, None),
        ("a.services.ai.azure.com", "/anthropic/v1/messages", MESSAGES, None),
        ("a.openai.azure.com", "/openai/deployments/d/responses", None, None),
        ("api.githubcopilot.com", "/chat/completions", CHAT, None),
        ("api.individual.githubcopilot.com", "/responses", RESPONSES, None),
        ("api.enterprise.githubcopilot.com", "/v1/messages", MESSAGES, None),
        ("copilot-api.acme.ghe.com", "/chat/completions", CHAT, None),
        ("api.business.githubcopilot.com", "/agents/swe/jobs", None, None),
        (BEDROCK, "/model/us.a.claude-v1%3A0/invoke", INVOKE, "us.a.claude-v1:0"),
        (BEDROCK, "/model/us.a.claude-v1:0/converse", CONVERSE, "us.a.claude-v1:0"),
        (BEDROCK, f"/model/{ENCODED}/converse-stream", CONVERSE, ARN),
        (BEDROCK, f"/model/{ARN.replace('/', '%2F')}/invoke", INVOKE, ARN),
        (BEDROCK, "/model/m/invoke-with-response-stream", INVOKE, "m"),
        (BEDROCK, "/model/m/invoke-with-bidirectional-stream", None, None),
        (BEDROCK, f"/model/{ENCODED}/count-tokens", None, ARN),
        (BEDROCK, f"/model/{ARN}/invoke", None, None),
        (BEDROCK, "/openai/v1/chat/completions", CHAT, None),
        ("bedrock-mantle.us-west-2.api.aws", "/openai/v1/responses", RESPONSES, None),
        ("bedrock-mantle.us-west-2.api.aws", "/v1/chat/completions", CHAT, None),
        ("bedrock-mantle.us-west-2.api.aws", "/anthropic/v1/messages?beta=true", MESSAGES, None),
        ("aws-external-anthropic.us-west-2.api.aws", "/v1/messages", MESSAGES, None),
        (GLOBAL, f"{ANTHROPIC}/claude-sonnet-4-5@20250929:rawPredict", MESSAGES, CLAUDE),
        (GLOBAL, f"{ANTHROPIC}/claude-sonnet-4-5%4020250929%3AstreamRawPredict", MESSAGES, CLAUDE),
        ("us-east5-aiplatform.googleapis.com", f"{ANTHROPIC}/m:rawPredict", MESSAGES, "m"),
        ("aiplatform.eu.rep.googleapis.com", f"{ANTHROPIC}/m:streamRawPredict", MESSAGES, "m"),
        (GLOBAL, f"{ANTHROPIC}/count-tokens:rawPredict", None, None),
        ("claude.googleapis.com", f"{WORKSPACE}/v1/messages?beta=true", MESSAGES, None),
        ("claude.googleapis.com", "/v1/claudeOrganization/invoke/v1/messages", MESSAGES, None),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "/model/m/invoke", INVOKE, "m"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "/model/m/invoke", INVOKE, "m"),
        ("bedrock-runtime.eu-central-1.api.aws", "/model/m/invoke", INVOKE, "m"),
        ("vpce-0a-b.bedrock-runtime.us-east-1.vpce.amazonaws.com", "/model/m/invoke", INVOKE, "m"),
        (
            "vpce-0a.bedrock-mantle.eu-west-1.vpce.amazonaws.com",
            "/openai/v1/responses",
            RESPONSES,
            None,
        ),
        ("a.openai.azure.us", "/openai/deployments/d/chat/completions", CHAT, "d"),
        ("a.openai.azure.cn", "/openai/v1/responses", RESPONSES, None),
        ("a.services.ai.azure.com", "/models/chat/completions?api-version=1", CHAT, None),
        ("a.services.ai.azure.com", "/api/projects/p/openai/v1/responses", RESPONSES, None),
        (
            "a.services.ai.azure.com",
            "/api/projects/p/openai/responses?api-version=1",
            RESPONSES,
            None,
        ),
        (GLOBAL, f"{OPENAI}/chat/completions", CHAT, None),
        (GLOBAL, f"{OPENAI}/responses", RESPONSES, None),
        ("jp.api.openai.com", "/v1/responses", RESPONSES, None),
        (GOOGLE, "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", GEMINI, PRO),
        (GOOGLE, "/v1/models/gemini-2.5-pro%3AgenerateContent", GEMINI, PRO),
        (GOOGLE, "/v1beta/tunedModels/mine:generateContent", GEMINI, None),
        (GOOGLE, "/v1beta/models/gemini-2.5-pro:batchGenerateContent", "gemini_batches", PRO),
        (GOOGLE, "/v1beta/models/i:predict", "gemini_predictions", "i"),
        (GOOGLE, "/v1beta/models/v:predictLongRunning", None, "v"),
        (GOOGLE, "/v1beta/cachedContents", "gemini_caches", None),
        (GOOGLE, "/v1beta/models/e:batchEmbedContents", "gemini_embeddings", "e"),
        (GOOGLE, "/v1beta/openai/chat/completions", CHAT, None),
        (GOOGLE, "/v1beta/openai/embeddings", "openai_embeddings", None),
        (GOOGLE, "/v1beta/openai/images/generations", "openai_images", None),
        (GOOGLE, "/v1beta/dynamic/d1:generateContent", GEMINI, None),
        (GOOGLE, "/v1beta/interactions", "gemini_interactions", None),
        ("cloudcode-pa.googleapis.com", "/v1internal:streamGenerateContent", GEMINI, None),
        ("cloudcode-pa.googleapis.com", "/v1internal:retrieveUserQuota", None, None),
        ("europe-west1-aiplatform.googleapis.com", f"{VERTEX}{PRO}:generateContent", GEMINI, PRO),
        ("aiplatform.eu.rep.googleapis.com", f"{VERTEX}{PRO}:streamGenerateContent", GEMINI, PRO),
        (
            "aiplatform.googleapis.com",
            f"/v1beta1/publishers/google/models/{PRO}:generateContent",
            GEMINI,
            PRO,
        ),
    ],
)
def test_default_instance_records_the_path_and_keeps_the_destination(
    host: str, path: str, api: str | None, model: str | None
) -> None:
    route = ROUTER.forward(host, path, "POST")

    assert (route.api, route.path_values.get("model")) == (api, model)
    assert (route.upstream, route.path) == (None, None)


@pytest.mark.parametrize(
    "host",
    [
        *("api.github.com", "evil.githubcopilot.com", "openai.azure.com", "x.ghe.com"),
        *("bedrock.us-east-1.amazonaws.com", "bedrock-runtime.a.b.amazonaws.com"),
        *("bedrock-runtime.us-east-1.amazonaws.com.evil.example", "s3.us-east-1.amazonaws.com"),
        "bedrock-runtime.amazonaws.com",
    ],
)
def test_other_hosts_are_not_intercepted(host: str) -> None:
    assert not ROUTER.is_provider_host(host)


def test_deployments_are_checked_by_their_models() -> None:
    azure = Provider(
        name="azure",
        type="azure",
        base_url="",
        hosts=frozenset({"*.openai.azure.com"}),
        models={"our-chat": "gpt-5"},
    )
    path = "/openai/deployments/our-chat/chat/completions"
    asked: Any = _Asked(Router([azure]).forward("a.openai.azure.com", path, "POST"), path)

    assert list(models_of(asked)) == ["gpt-5", "gpt-5", "unlisted"]


@pytest.mark.parametrize("path", [f"/model/{ENCODED}/invoke", f"/model/{ENCODED}/count-tokens"])
def test_model_of_an_encoded_arn_is_checked_by_its_whole_name(path: str) -> None:
    asked: Any = _Asked(ROUTER.forward(BEDROCK, path, "POST"), path, b'{"max_tokens": 1}')
    assert list(models_of(asked)) == [ARN]

    route = asked.route
    mapped = replace(route.provider, models={ARN: "global.anthropic.claude-opus-5-5"})
    asked.route = replace(route, provider=mapped)
    assert list(models_of(asked)) == ["global.anthropic.claude-opus-5-5"]


def test_schemas_and_labels_of_converse_name_no_models() -> None:
    schema = {"json": {"type": "object", "properties": {"model": {"type": "string"}}}}
    body = {
        "messages": [],
        "requestMetadata": {"model": "label"},
        "toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": schema}}]},
        "additionalModelRequestFields": {"top_k": 1},
    }
    path = "/model/m/converse"
    route = ROUTER.forward(BEDROCK, path, "POST")
    asked: Any = _Asked(route, path, json.dumps(body).encode())
    assert list(models_of(asked)) == ["m"]


def test_signed_request_with_doubled_slashes_is_recorded_and_keeps_its_path() -> None:
    route = ROUTER.forward(BEDROCK, "//model/m/invoke", "POST", is_signed=True)
    assert (route.api, route.path, route.upstream) == (INVOKE, None, None)


@pytest.mark.parametrize(
    "name", [b"api-key", b"ocp-apim-subscription-key", b"copilot-session-token"]
)
def test_credentials_of_azure_and_copilot_are_masked(name: bytes) -> None:
    assert name in SECRET_FIELDS


class _Asked:
    """The parts of `Asked` that name models."""

    method, fields, is_message, members = "POST", (), False, None

    def __init__(self, route: Any, path: str, body: bytes = BODY) -> None:
        self.route, self.path, self._body = route, path, body

    def content(self) -> bytes:
        return self._body
