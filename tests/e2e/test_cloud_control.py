"""Limits, budgets, model rules, key pools and fallbacks of Claude and others in clouds."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from standin import Provider, Request, Response, Server, ServerThread
from standin.provider import Answer

from e2e.proxies import RunProxy
from e2e.proxy import Proxy

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
VERTEX_CLAUDE = "claude-sonnet-4-5@20250929"
A, B, OTHER = "key-first-aaaaaaaaaaaaaa", "key-second-bbbbbbbbbbbb", "key-other-cccccccccccccc"

RULES = """
[[prices]]
match = "*"
input = 1_000
output = 1_000
cache_read = 1_000
cache_write = 1_000
cache_write_1h = 1_000

[[limits]]
name = "calm"
actors = ["hasty-*"]
requests_per_minute = 1

[[budgets]]
name = "small"
actors = ["poor-*"]
usd = 1.3
hold = "likely"
wait_s = 0

[[model_rules]]
actors = ["intern-*"]
deny = ["*claude-opus*"]
aliases = { "fast" = "the-fast-model" }
max_output_tokens = 50
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of call in a cloud."""

    name: str
    kind: str
    """The provider type."""
    path: str
    model: str
    body: str
    """Shape of its body."""

    def __str__(self) -> str:
        return self.name

    def request(
        self, model: str | None = None, text: str = "Hello", most: int = 100
    ) -> tuple[str, dict[str, Any]]:
        """Return path and body of a request."""
        model = model or self.model
        path = self.path.replace("MODEL", quote(model, safe="@"))
        if self.body == "converse":
            message = {"role": "user", "content": [{"text": text}]}
            return path, {"messages": [message], "inferenceConfig": {"maxTokens": most}}
        message = {"role": "user", "content": text}
        body = {"messages": [message], "max_tokens": most, **MORE_MEMBERS[self.body]}
        if self.body in ("foundry", "chat"):
            body["model"] = model
        if self.name.endswith("-stream") and self.body != "invoke":
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return path, body


MORE_MEMBERS: dict[str, dict[str, Any]] = {
    "invoke": {"anthropic_version": "bedrock-2023-05-31"},
    "vertex": {"anthropic_version": "vertex-2023-10-16"},
    "foundry": {},
    "chat": {},
}
PREDICT = "/v1/projects/p/locations/global/publishers/anthropic/models/MODEL:"
DEPLOYMENT = "/openai/deployments/MODEL/chat/completions?api-version=x"
SHAPES = [
    Shape("invoke", "bedrock", "/model/MODEL/invoke", CLAUDE, "invoke"),
    Shape("invoke-stream", "bedrock", "/model/MODEL/invoke-with-response-stream", CLAUDE, "invoke"),
    Shape("converse", "bedrock", "/model/MODEL/converse", CLAUDE, "converse"),
    Shape("converse-stream", "bedrock", "/model/MODEL/converse-stream", CLAUDE, "converse"),
    Shape("vertex", "vertex", PREDICT + "rawPredict", VERTEX_CLAUDE, "vertex"),
    Shape("vertex-stream", "vertex", PREDICT + "streamRawPredict", VERTEX_CLAUDE, "vertex"),
    Shape("foundry", "azure", "/anthropic/v1/messages", "claude-sonnet-4-5", "foundry"),
    Shape("foundry-stream", "azure", "/anthropic/v1/messages", "claude-sonnet-4-5", "foundry"),
    Shape(
        "deployment",
        "azure",
        "/openai/deployments/MODEL/chat/completions?api-version=x",
        "gpt-5",
        "chat",
    ),
    Shape(
        "deployment-stream",
        "azure",
        "/openai/deployments/MODEL/chat/completions?api-version=x",
        "gpt-5",
        "chat",
    ),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


class Scripted:
    """A provider that fails as told, by key; otherwise it answers by script."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.failures: dict[str, list[Response]] = defaultdict(list)
        self.seen: list[tuple[str, Request]] = []

    async def __call__(self, request: Request) -> Answer:
        key = key_of(request)
        self.seen.append((key, request))
        if self.failures[key]:
            return self.failures[key].pop(0)
        return await self.provider(request)


def key_of(request: Request) -> str:
    given = request.header("api-key") or request.header("x-api-key")
    bearer = request.header("authorization") or ""
    return given or ("signed" if "Signature=" in bearer else bearer.removeprefix("Bearer "))


@pytest.fixture(scope="module")
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def upstream(scripted: Scripted) -> Iterator[Server]:
    with ServerThread(Server(scripted, tls=None)) as server:
        yield server


def instances(origin: str) -> str:
    """Return instances of each type: with a key, with a pool, and with a fallback."""
    made = []
    for kind in ("bedrock", "vertex", "azure"):
        models = {
            CLAUDE: "served-1",
            VERTEX_CLAUDE: "served-1",
            "claude-sonnet-4-5": "served-1",
            "gpt-5": "served-1",
        }
        named = ", ".join(f'"{name}" = "{model}"' for name, model in models.items())
        fall = f'fallbacks = [{{ provider = "{kind}-away", models = {{ {named} }} }}]\n'
        signed = 'region = "us-east-1"\n' if kind == "bedrock" else 'api_key_env = "KEY_A"\n'
        pool = 'keys = [{ env = "KEY_A" }, { env = "KEY_B" }]\n'
        for name, more in {
            kind: signed,
            f"{kind}-pool": pool,
            f"{kind}-falling": 'api_key_env = "KEY_A"\ncircuit_breaker = true\n' + fall,
            f"{kind}-away": 'api_key_env = "OTHER"\n',
        }.items():
            made.append(
                f'[[providers]]\nname = "{name}"\ntype = "{kind}"\nbase_url = "{origin}"\n'
                f"hosts = []\n{more}"
            )
    return "\n".join(made)


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, upstream: Server) -> Iterator[Proxy]:
    env = {
        "AWS_ACCESS_KEY_ID": "AKIAOPERATOROPERATOR",
        "AWS_SECRET_ACCESS_KEY": "operator+secret/operator+secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "KEY_A": A,
        "KEY_B": B,
        "OTHER": OTHER,
    }
    config = instances(upstream.origin) + RULES
    with run_proxy(upstream.origin, config=config, env=env, metrics=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh(scripted: Scripted) -> None:
    scripted.seen.clear()
    scripted.failures.clear()


def ask(
    proxy: Proxy, shape: Shape, actor: str, instance: str = "", **changes: Any
) -> httpx.Response:
    path, body = shape.request(**changes)
    url = f"http://127.0.0.1:{proxy.reverse_port}/{instance or shape.kind}{path}"
    headers = {"x-aibridge-actor": actor}
    return httpx.post(url, json=body, headers=headers, trust_env=False)


def refusal(status: int) -> Response:
    body = {"type": "error", "error": {"type": "x", "message": "as the provider says it"}}
    return Response(status, [("content-type", "application/json")], json.dumps(body).encode())


@each_shape
def test_limit_refuses_what_is_above_the_rate(
    proxy: Proxy, scripted: Scripted, shape: Shape
) -> None:
    assert ask(proxy, shape, f"hasty-{shape}").status_code == 200
    with proxy.recording() as records:
        refused = ask(proxy, shape, f"hasty-{shape}")
    assert refused.status_code == 429
    assert "'calm' allows" in refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(scripted.seen) == 1
    assert records.interception["status"] == "refused"


@each_shape
def test_budget_is_charged_each_call_and_refuses_once_it_is_spent(
    proxy: Proxy, scripted: Scripted, shape: Shape
) -> None:
    with proxy.recording() as records:
        for _ in range(3):
            assert ask(proxy, shape, f"poor-{shape}", text="TOKENS:50,400").status_code == 200
        refused = ask(proxy, shape, f"poor-{shape}")
    assert (refused.status_code, refused.headers["x-should-retry"]) == (400, "false")
    assert "budget 'small' is spent: $1.35 of $1.30" in refused.text
    assert len(scripted.seen) == 3
    assert [row["cost_nano_usd"] for row in records.token_usages] == [450_000_000] * 3


@each_shape
def test_denied_model_is_refused_in_every_spelling(
    proxy: Proxy, scripted: Scripted, shape: Shape
) -> None:
    for model in ("us.anthropic.claude-opus-5", "US.Anthropic.Claude-OPUS-5", "ｃlaude-opus-5"):
        refused = ask(proxy, shape, "intern-1", model=model)
        assert refused.status_code == 400
        assert "is not allowed for intern-1" in refused.text
    assert scripted.seen == []


@each_shape
def test_alias_and_ceiling_change_what_is_sent(
    proxy: Proxy, scripted: Scripted, shape: Shape
) -> None:
    with proxy.recording() as records:
        found = ask(proxy, shape, "intern-1", model="fast", most=9_000)
    assert found.status_code == 200
    [(_, sent)] = scripted.seen
    path, body = shape.request(model="the-fast-model", most=50)
    assert (sent.target, json.loads(sent.body)) == (path, body)
    assert (records.interception["model"], records.usage["model"]) == ("fast", "the-fast-model")


@each_shape
def test_next_key_serves_what_the_first_one_may_not(
    proxy: Proxy, scripted: Scripted, shape: Shape
) -> None:
    for number in range(30):  # until a conversation that begins with the limited key
        scripted.failures[A] = [refusal(429)]
        scripted.seen.clear()
        assert ask(proxy, shape, f"p{number}", f"{shape.kind}-pool").status_code == 200
        if len(scripted.seen) > 1:
            break
    [(first, begun), (second, repeated)] = scripted.seen
    assert (first, second) == (A, B)
    assert (begun.target, begun.body) == (repeated.target, repeated.body)


@each_shape
def test_fallback_serves_with_its_own_key_and_model(
    proxy: Proxy, scripted: Scripted, shape: Shape
) -> None:
    scripted.failures[A] = [refusal(503)]
    with proxy.recording() as records:
        found = ask(proxy, shape, "alice", f"{shape.kind}-falling")
    assert found.status_code == 200
    assert [key for key, _ in scripted.seen] == [A, OTHER]
    path, body = shape.request(model="served-1")
    sent = scripted.seen[1][1]
    assert (sent.target, json.loads(sent.body)) == (path, body)
    assert found.headers["x-aibridge-served-by"] == f"{shape.kind}-away/served-1"
    assert records.usage["model"] == "served-1"
    assert records.interception["provider_name"] == f"{shape.kind}-away"
