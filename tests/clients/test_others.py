"""Other programs: opencode, the SDKs in Python and JavaScript, llm, aider, Gemini CLI."""

import json
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
from e2e.metrics import metric
from e2e.proxy import Proxy
from e2e.records import Records
from standin import Request, Response, Server

from clients.conftest import MakeDesk, config_of
from clients.programs import AIDER, GEMINI_CLI, JS_SDKS, LLM, OPENCODE, Desk, Mode, program

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])

KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-0123456789abcdefghij",
    "OPENAI_API_KEY": "sk-proj-0123456789abcdefghij",
}
HELLO = "Hello from the stand-in."
HINTS = {"anthropic": "sk-a...ghij", "openai": "sk-p...ghij"}


def check(records: Records, client: str, apis: list[str]) -> None:
    """Assert that each of these was asked once, by this client, and answered."""
    rows = records.interceptions
    assert [row["api"] for row in rows] == apis
    assert {row["client"] for row in rows} == {client}
    assert {(row["status"], row["http_status"], row["partial"]) for row in rows} == {
        ("completed", 200, 0)
    }
    for row in rows:
        assert (row["credential_kind"], row["credential_hint"]) == ("byok", HINTS[row["provider"]])
    assert len(records.token_usages) == len(rows)


# --- opencode


OPENCODE_CONFIG = {
    "$schema": "https://opencode.ai/config.json",
    "autoupdate": False,
    "share": "disabled",
    "permission": {"bash": "allow"},
    "provider": {
        "anthropic": {"models": {"claude-sonnet-4-5": {}}},
        "openai": {"models": {"gpt-5": {}}},
    },
}


def opencode(desk: Desk, model: str, said: str, *, mode: Mode) -> str:
    """Run opencode; return what it printed."""
    folder = desk.home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps(OPENCODE_CONFIG))
    env = {**KEYS, "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    command = [program(OPENCODE), "run", "--pure", "-m", model, said]
    ran = desk.run(command, mode=mode, client="opencode", env=env)
    assert ran.code == 0
    return ran.out


@each_mode
@pytest.mark.parametrize(
    ("model", "api"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic_messages"),
        ("openai/gpt-5", "openai_responses"),
    ],
)
def test_opencode(desk: Desk, mode: Mode, model: str, api: str) -> None:
    said = "USE_TOOL:bash"  # without arguments: it sends what was said as a JSON string
    with desk.proxy.recording() as records:
        out = opencode(desk, model, said, mode=mode)
    assert "The tool returned: " in out
    rows = [row for row in records.interceptions if row["model"] == model.partition("/")[2]]
    assert {row["api"] for row in rows} == {api}
    assert {row["client"] for row in records.interceptions} == {"OpenCode"}
    assert {row["status"] for row in records.interceptions} == {"completed"}
    assert len({row["client_session_id"] for row in records.interceptions}) == 1
    assert rows[0]["client_session_id"].startswith("ses_")
    [call] = [row for row in records.tool_usages if row["tool"] == "bash"]
    assert call["input"]["command"] == "text"
    assert call["tool_call_id"] in {row["correlating_tool_call_id"] for row in rows}
    assert any(said in prompt for prompt in records.prompts)
    assert len(records.token_usages) == len(records.interceptions)


# --- SDKs


PYTHON = """
from anthropic import Anthropic
from openai import OpenAI

said = [{"role": "user", "content": "hello"}]
with Anthropic() as client:
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": said}
    print(client.messages.create(**asked).content[0].text)
    with client.messages.stream(**asked) as stream:
        print(stream.get_final_text())
with OpenAI() as client:
    print(client.chat.completions.create(model="gpt-5", messages=said).choices[0].message.content)
    print(client.responses.create(model="gpt-5", input="hello").output_text)
    with client.responses.stream(model="gpt-5", input="hello") as stream:
        print(stream.get_final_response().output_text)
"""

JAVASCRIPT = """
const Anthropic = require("@anthropic-ai/sdk");
const OpenAI = require("openai");
const said = [{ role: "user", content: "hello" }];
(async () => {
  const anthropic = new Anthropic();
  const asked = { model: "claude-sonnet-4-5", max_tokens: 99, messages: said };
  console.log((await anthropic.messages.create(asked)).content[0].text);
  console.log(await anthropic.messages.stream(asked).finalText());
  const openai = new OpenAI();
  const chat = await openai.chat.completions.create({ model: "gpt-5", messages: said });
  console.log(chat.choices[0].message.content);
  const response = await openai.responses.create({ model: "gpt-5", input: "hello" });
  console.log(response.output_text);
  const stream = openai.responses.stream({ model: "gpt-5", input: "hello" });
  console.log((await stream.finalResponse()).output_text);
})();
"""

ASKED = [
    *("anthropic_messages", "anthropic_messages"),
    *("openai_chat", "openai_responses", "openai_responses"),
]


def by_sdks(records: Records, language: str) -> None:
    """Assert that both SDKs of a language have asked all that the scripts ask."""
    of = {
        provider: Records(
            [row for row in records.interceptions if row["provider"] == provider],
            [row for row in records.token_usages if row["model"].startswith(model)],
        )
        for provider, model in (("anthropic", "claude"), ("openai", "gpt"))
    }
    check(of["anthropic"], f"Anthropic SDK ({language})", ASKED[:2])
    check(of["openai"], f"OpenAI SDK ({language})", ASKED[2:])
    assert [row["streaming"] for row in records.interceptions] == [0, 1, 0, 0, 1]
    assert records.prompts == ["hello"] * 5


@each_mode
def test_the_sdks_in_python(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran = desk.run([sys.executable, "-c", PYTHON], mode=mode, client="python", env=KEYS)
    assert ran.out.splitlines() == [HELLO] * 5
    by_sdks(records, "Python")


@each_mode
def test_the_sdks_in_javascript(desk: Desk, mode: Mode) -> None:
    """Node ignores HTTPS_PROXY up to version 22, so it is given base URLs in both modes."""
    modules = program(JS_SDKS).parents[1]
    node = shutil.which("node")
    assert node
    with desk.proxy.recording() as records:
        ran = desk.run(
            [node, "-e", JAVASCRIPT],
            mode=mode,
            client="node",
            env={**KEYS, "NODE_PATH": str(modules)},
        )
    assert ran.out.splitlines() == [HELLO] * 5
    by_sdks(records, "JavaScript")


# --- llm and aider


@each_mode
@pytest.mark.parametrize(
    ("model", "api", "client"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic_messages", "Anthropic SDK (Python)"),
        ("gpt-4o", "openai_chat", "OpenAI SDK (Python)"),
    ],
)
def test_llm(desk: Desk, mode: Mode, model: str, api: str, client: str) -> None:
    with desk.proxy.recording() as records:
        ran = desk.run([program(LLM), "-m", model, "hello"], mode=mode, client="llm", env=KEYS)
    assert ran.code == 0
    assert ran.out.strip() == HELLO
    check(records, client, [api])
    assert records.prompts == ["hello"]


def aider(desk: Desk, model: str, *, mode: Mode) -> None:
    """Run aider, which says hello and gets its answer."""
    command = [
        *(program(AIDER), "--model", model, "--message", "hello", "--no-git", "--yes-always"),
        *("--no-check-update", "--no-show-model-warnings", "--analytics-disable", "--no-pretty"),
        *("--no-show-release-notes", "--map-tokens", "0"),
    ]
    ran = desk.run(command, mode=mode, client="aider", env=KEYS)
    assert ran.code == 0
    assert HELLO in ran.out


@each_mode
@pytest.mark.parametrize(
    ("model", "api"),
    [("anthropic/claude-sonnet-4-5", "anthropic_messages"), ("openai/gpt-4o", "openai_chat")],
)
def test_aider(desk: Desk, mode: Mode, model: str, api: str) -> None:
    with desk.proxy.recording() as records:
        aider(desk, model, mode=mode)
    row = records.interception
    assert (row["api"], row["status"], row["streaming"]) == (api, "completed", 1)
    assert records.prompts[0].startswith("hello")  # it appends rules of its own
    # At a base URL it does not ask OpenAI for the usage.
    told = mode == "forward" or api != "openai_chat"
    assert len(records.token_usages) == told


def test_aider_where_the_proxy_asks_for_the_usage(
    start_proxy: Callable[..., Proxy], make_desk: MakeDesk
) -> None:
    proxy = start_proxy(options={"aibridge_ask_chat_usage": True})
    with proxy.recording() as records:
        aider(make_desk(proxy), "openai/gpt-4o", mode="reverse")
    assert records.interception["status"] == "completed"
    assert records.usage["output_tokens"] > 0


# --- Gemini CLI


GEMINI = {"GEMINI_API_KEY": "AIza0123456789abcdefghij", "GEMINI_CLI_TRUST_WORKSPACE": "true"}


def gemini(desk: Desk, said: str) -> Any:
    """Run Gemini CLI; return what it printed, decoded."""
    folder = desk.home / ".gemini"
    folder.mkdir()
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [program(GEMINI_CLI), "-p", said, "--output-format", "json"]
    ran = desk.run(command, mode="forward", client="gemini", env=GEMINI)
    assert ran.code == 0
    return json.loads(ran.out)


async def speak_gemini(request: Request) -> Response:
    """Answer as Gemini's API does."""
    streams = "alt=sse" in request.target  # what does not is its own choice of a model
    score = {"complexity_reasoning": "It is short.", "complexity_score": 10}
    content = {"role": "model", "parts": [{"text": HELLO if streams else json.dumps(score)}]}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    body = json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()
    if streams:
        headers = [("content-type", "text/event-stream")]
        return Response(200, headers, [b"data: " + body + b"\r\n\r\n"])
    return Response(200, [("content-type", "application/json")], body)


def test_gemini_cli_passes_by_an_instance_and_is_counted(
    start_proxy: Callable[..., Proxy],
    start_standin: Callable[..., Server],
    make_desk: MakeDesk,
    standin: Server,
) -> None:
    google = start_standin(speak_gemini)
    config = f"""{config_of(standin.origin)}
[[providers]]
name = "gemini"
type = "openai"
base_url = "{google.origin}"
hosts = ["generativelanguage.googleapis.com"]
"""
    proxy = start_proxy(config=config, metrics=True)
    told = gemini(make_desk(proxy), "hello")
    assert told["response"] == HELLO
    assert google.requests
    assert {request.header("x-goog-api-key") for request in google.requests} == {
        GEMINI["GEMINI_API_KEY"]
    }
    counted = metric(proxy, "aibridge_passthrough_total", provider="gemini", route="other")
    assert counted == len(google.requests)
    assert proxy.records.interceptions == []
