"""Asks each client program a question, and parses its output."""

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

from e2e.records import Records

from clients.places import Mode, Place, Ran
from clients.programs import (
    AIDER,
    CLAUDE_CODE,
    CODEX,
    COPILOT,
    GOOGLE_JS_SDK,
    JS_SDKS,
    LLM,
    OPENCODE,
    node,
    program,
)

type Words = list[str | Path]

HELLO = "Hello from the stand-in."
KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-0123456789abcdefghij",
    "OPENAI_API_KEY": "sk-proj-0123456789abcdefghij",
}
HINTS = {"anthropic": "sk-a...ghij", "openai": "sk-p...ghij"}


# --- Claude Code

CLAUDE_KEY = {"ANTHROPIC_API_KEY": KEYS["ANTHROPIC_API_KEY"]}
CLAUDE_STABLE = {"DISABLE_AUTOUPDATER": "1"}
CLAUDE_QUIET = {
    **CLAUDE_STABLE,
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "IS_SANDBOX": "1",  # so that it runs tools unasked, even as root
}


def claude(
    place: Place, *arguments: str, mode: Mode, env: dict[str, str] = CLAUDE_KEY, quiet: bool = True
) -> tuple[Ran, Any]:
    """Run Claude Code in its print mode; return what it printed, decoded."""
    command: Words = [program(CLAUDE_CODE), "--output-format", "json", *arguments]
    variables = CLAUDE_QUIET if quiet else CLAUDE_STABLE
    ran = place.run(command, mode=mode, client="claude", env=variables | env)
    return ran, json.loads(ran.out)


# --- Codex

CODEX_KEY = {"CODEX_API_KEY": KEYS["OPENAI_API_KEY"]}
CODEX_QUIET = """\
check_for_update_on_startup = false
model = "gpt-5.2-codex"
[analytics]
enabled = false
[otel]
metrics_exporter = "none"
[features]
plugins = false
apps = false
"""
ACCOUNT = "00000000-0000-4000-8000-000000000042"


def codex(
    place: Place,
    *arguments: str,
    mode: Mode,
    config: str = "",
    env: dict[str, str] = CODEX_KEY,
    lead: bool = True,
) -> tuple[Ran, list[dict[str, Any]]]:
    """Run `codex exec`; return the events that it printed."""
    set_up_codex(place, config)
    command: Words = [program(CODEX), "exec", "--json", "--skip-git-repo-check", *arguments]
    ran = place.run(command, mode=mode if lead else None, client="codex", env=env)
    return ran, [json.loads(line) for line in ran.out.splitlines() if line.startswith("{")]


def set_up_codex(place: Place, config: str = "") -> None:
    """Write its config file."""
    folder = place.home / ".codex"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(config + CODEX_QUIET)


def text_of(events: list[dict[str, Any]]) -> str:
    """Return the last message of the model."""
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    text: str = [item["text"] for item in items if item["type"] == "agent_message"][-1]
    return text


def thread(events: list[dict[str, Any]]) -> str:
    """Return the session as Codex names it."""
    [started] = [event for event in events if event["type"] == "thread.started"]
    name: str = started["thread_id"]
    return name


def login(place: Place) -> None:
    """Leave what a login with ChatGPT leaves."""
    auth = {"chatgpt_account_id": ACCOUNT, "chatgpt_plan_type": "plus", "chatgpt_user_id": "u"}
    claims = {
        "exp": int(time.time()) + 86_400,
        "email": "alice@example.org",
        "https://api.openai.com/auth": auth,
    }
    token = ".".join(_part(part) for part in ({"alg": "none"}, claims, {"sig": 1}))
    tokens = {
        "id_token": token,
        "access_token": token,
        "refresh_token": "rt-0123456789abcdefghij",
        "account_id": ACCOUNT,
    }
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    content = {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": now}
    folder = place.home / ".codex"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "auth.json").write_text(json.dumps(content))


def _part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


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


def opencode(place: Place, model: str, asked: str, *, mode: Mode) -> Ran:
    """Run opencode."""
    folder = place.home / ".config" / "opencode"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "opencode.json").write_text(json.dumps(OPENCODE_CONFIG))
    env = {**KEYS, "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    command: Words = [program(OPENCODE), "run", "--pure", "-m", model, asked]
    return place.run(command, mode=mode, client="opencode", env=env)


# --- SDKs

PYTHON = """
from anthropic import Anthropic
from openai import OpenAI

messages = [{"role": "user", "content": "hello"}]
with Anthropic() as client:
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": messages}
    print(client.messages.create(**asked).content[0].text)
    with client.messages.stream(**asked) as stream:
        print(stream.get_final_text())
with OpenAI() as client:
    chat = client.chat.completions.create(model="gpt-5", messages=messages)
    print(chat.choices[0].message.content)
    print(client.responses.create(model="gpt-5", input="hello").output_text)
    with client.responses.stream(model="gpt-5", input="hello") as stream:
        print(stream.get_final_response().output_text)
"""

JAVASCRIPT = """
const Anthropic = require("@anthropic-ai/sdk");
const OpenAI = require("openai");
const messages = [{ role: "user", content: "hello" }];
(async () => {
  const anthropic = new Anthropic();
  const asked = { model: "claude-sonnet-4-5", max_tokens: 99, messages };
  console.log((await anthropic.messages.create(asked)).content[0].text);
  console.log(await anthropic.messages.stream(asked).finalText());
  const openai = new OpenAI();
  const chat = await openai.chat.completions.create({ model: "gpt-5", messages });
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
"""The APIs that both scripts use, in this order."""


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


def python(place: Place, *, mode: Mode) -> Ran:
    """Run the script for Python's SDKs."""
    return place.run([sys.executable, "-c", PYTHON], mode=mode, client="python", env=KEYS)


GOOGLE_JAVASCRIPT = """
const { GoogleGenAI } = require("@google/genai");
if (process.env.HTTPS_PROXY && !process.env.GOOGLE_GEMINI_BASE_URL) {
  const { EnvHttpProxyAgent, setGlobalDispatcher } = require("undici");
  setGlobalDispatcher(new EnvHttpProxyAgent());
}
(async () => {
  const ai = new GoogleGenAI({ apiKey: "AIzaSyA-0123456789-abcdefghijklmnopq" });
  const asked = { model: "gemini-2.5-flash", contents: "hello" };
  console.log((await ai.models.generateContent(asked)).text);
  let said = "";
  for await (const chunk of await ai.models.generateContentStream(asked)) said += chunk.text ?? "";
  console.log(said);
})();
"""


def google_javascript(place: Place, *, mode: Mode) -> Ran:
    """Run the script for Google's SDK; in forward mode undici sends it through the proxy."""
    modules = {"NODE_PATH": str(program(GOOGLE_JS_SDK).parents[1])}
    client = "node" if mode == "reverse" else "any"
    return place.run([node(), "-e", GOOGLE_JAVASCRIPT], mode=mode, client=client, env=modules)


def javascript(place: Place, *, mode: Mode) -> Ran:
    """Run the script for JavaScript's SDKs."""
    return place.run([node(), "-e", JAVASCRIPT], mode=mode, client="node", env=KEYS | js_modules())


def js_modules() -> dict[str, str]:
    """Return what lets Node find the SDKs."""
    return {"NODE_PATH": str(program(JS_SDKS).parents[1])}


# --- llm and aider


def llm(place: Place, model: str, asked: str, *, mode: Mode) -> Ran:
    """Run llm."""
    return place.run([program(LLM), "-m", model, asked], mode=mode, client="llm", env=KEYS)


def aider(place: Place, model: str, asked: str, *, mode: Mode) -> Ran:
    """Run aider for one message."""
    command: Words = [
        *(program(AIDER), "--model", model, "--message", asked, "--no-git", "--yes-always"),
        *("--no-check-update", "--no-show-model-warnings", "--analytics-disable", "--no-pretty"),
        *("--no-show-release-notes", "--map-tokens", "0"),
    ]
    return place.run(command, mode=mode, client="aider", env=KEYS)


# --- GitHub Copilot CLI

COPILOT_WIRES = {
    "anthropic_messages": {"COPILOT_PROVIDER_TYPE": "anthropic"},
    "openai_chat": {"COPILOT_PROVIDER_WIRE_API": "completions"},
    "openai_responses": {"COPILOT_PROVIDER_WIRE_API": "responses"},
}
"""Variables that choose a wire format."""


def copilot(place: Place, asked: str, *, mode: Mode, api: str, base_url: str) -> Ran:
    """Run Copilot with a provider and key of the user's own: it needs no login at GitHub then."""
    provider = "anthropic" if api == "anthropic_messages" else "openai"
    env = {
        **COPILOT_WIRES[api],
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_MODEL": "claude-sonnet-4-5" if provider == "anthropic" else "gpt-5",
        "COPILOT_PROVIDER_BASE_URL": base_url,
        "COPILOT_PROVIDER_API_KEY": KEYS[f"{provider.upper()}_API_KEY"],
    }
    command: Words = [program(COPILOT), "-p", asked, "-s", "--allow-all-tools"]
    return place.run(command, mode=mode, client="copilot", env=env)


GITHUB_TOKEN = "gho_0123456789abcdefghij0123456789abcdef"


def copilot_with_github(place: Place, asked: str, *, mode: Mode, env: dict[str, str]) -> Ran:
    """Run Copilot with a token of GitHub, which it exchanges for nothing: it is the key."""
    env = {"COPILOT_GITHUB_TOKEN": GITHUB_TOKEN, "COPILOT_AUTO_UPDATE": "false", **env}
    command: Words = [program(COPILOT), "-p", asked, "-s", "--allow-all-tools"]
    return place.run(command, mode=mode, client="copilot", env=env)
