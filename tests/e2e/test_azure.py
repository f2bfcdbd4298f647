"""Azure OpenAI and GitHub Copilot, with the SDK's own client for Azure, in both modes."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import AzureOpenAI, OpenAI
from standin import Server
from standin.plan import ANSWER

from e2e.clients import Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.tables import provider_toml

KEY = "0123456789abcdef0123456789abcdef"
SAID = "How are you? TOKENS:100,20,30,5"
VERSION = "2025-04-01-preview"

FORWARD, REVERSE = Way("forward"), Way("reverse")
each_mode = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    models = {"our-chat": "gpt-5"}
    config = provider_toml(
        standin.origin, "azure", "acme.openai.azure.com", models=models, price_as="azure"
    )
    config += provider_toml(standin.origin, "copilot", "api.business.githubcopilot.com")
    with run_proxy(standin.origin, config=config) as made:
        yield made


def endpoint(proxy: Proxy, way: Way) -> str:
    if way == FORWARD:
        return "https://acme.openai.azure.com"
    return f"http://127.0.0.1:{proxy.reverse_port}/azure"


@each_mode
def test_chat_of_a_deployment_is_recorded_by_its_model(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    with (
        proxy.recording() as records,
        AzureOpenAI(
            azure_endpoint=endpoint(proxy, way),
            azure_deployment="our-chat",
            api_key=KEY,
            api_version=VERSION,
            http_client=clients.http(way),
        ) as client,
    ):
        chunks = client.chat.completions.create(
            model="our-chat",
            messages=[{"role": "user", "content": SAID}],
            stream=True,
            stream_options={"include_usage": True},
        )
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    assert text == ANSWER
    row = records.interception
    assert (row["provider"], row["api"], row["model"]) == ("azure", "openai_chat", "gpt-5")
    assert (row["credential_kind"], row["credential_hint"]) == ("byok", "0123...cdef")
    assert row["client"] == "OpenAI SDK (Python)"
    assert records.counts == (105, 20, 30, 0)
    assert records.usage["cost_nano_usd"] > 0
    assert records.prompts == [SAID]
    request = standin.requests[-1]
    assert request.target == f"/openai/deployments/our-chat/chat/completions?api-version={VERSION}"
    assert request.header("api-key") == KEY


@each_mode
def test_responses_of_azure_are_recorded_with_a_bearer_token(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    with (
        proxy.recording() as records,
        OpenAI(
            base_url=f"{endpoint(proxy, way)}/openai/v1",
            api_key=f"eyJ0eXAiOiJKV1Qi.{KEY}.sig",
            http_client=clients.http(way),
        ) as client,
    ):
        answer = client.responses.create(model="our-chat", input=SAID)

    assert answer.output_text == ANSWER
    row = records.interception
    assert (row["provider"], row["api"], row["model"]) == ("azure", "openai_responses", "gpt-5")
    assert standin.requests[-1].target == "/openai/v1/responses"
    assert KEY not in str(records)


def test_codex_path_of_azure_is_recorded(proxy: Proxy, clients: Clients) -> None:
    url = f"{endpoint(proxy, FORWARD)}/openai/responses?api-version={VERSION}"
    body = {"model": "our-chat", "input": [{"role": "user", "content": SAID}], "stream": True}
    with proxy.recording() as records, clients.http(FORWARD) as client:
        client.post(url, json=body, headers={"authorization": f"Bearer {KEY}"}).read()

    assert (records.interception["model"], records.usage["output_tokens"]) == ("gpt-5", 20)


COPILOT = {
    "authorization": "Bearer tid=0123456789;exp=1790000000;sku=business:0123456789abcdef",
    "user-agent": "GitHubCopilotChat/0.41.0",
    "copilot-integration-id": "vscode-chat",
    "x-interaction-id": "00000000-0000-4000-8000-000000000007",
    "x-interaction-type": "conversation-subagent",
    "x-initiator": "agent",
    "openai-intent": "conversation-panel",
}


@each_mode
@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/chat/completions", "openai_chat"),
        ("/responses", "openai_responses"),
        ("/v1/messages", "anthropic_messages"),
    ],
)
def test_copilot_is_recorded_with_its_session_and_login(
    proxy: Proxy, clients: Clients, way: Way, path: str, api: str
) -> None:
    host = "https://api.business.githubcopilot.com"
    base = host if way == FORWARD else f"http://127.0.0.1:{proxy.reverse_port}/copilot"
    messages = [{"role": "user", "content": SAID}]
    body: dict[str, Any] = {"model": "gpt-5", "messages": messages, "input": messages}
    with proxy.recording() as records, clients.http(way) as client:
        response = client.post(base + path, json=body, headers=COPILOT)

    assert response.status_code == 200
    row = records.interception
    assert (row["provider"], row["api"]) == ("copilot", api)
    assert row["client"] == "GitHub Copilot (VS Code)"
    assert row["client_session_id"] == COPILOT["x-interaction-id"]
    assert (row["request_kind"], row["credential_kind"]) == ("subagent", "subscription")
    assert records.usage["output_tokens"] == 20


def test_other_paths_of_copilot_pass_in_forward_mode(proxy: Proxy, clients: Clients) -> None:
    with proxy.recording() as records, clients.http(FORWARD) as client:
        url = "https://api.business.githubcopilot.com/agents/swe/jobs"
        response = client.get(url, headers=COPILOT)

    assert response.status_code == 404  # of the stand-in
    assert records.interceptions == []
