"""Client programs, sessions, credentials and actors are identified, and secrets are masked."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.providers.clients import CLIENTS
from aibridge_addon.providers.credentials import Credential, mask, own_credential
from aibridge_addon.providers.identity import (
    Actor,
    actor_of,
    client_metadata,
    recognise,
    session_of,
)

CLAUDE_CODE = recognise({"user-agent": "claude-cli/2"})
CODEX = recognise({"user-agent": "codex_cli_rs/1"})

# Client programs


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"user-agent": "mux/0.9 (darwin)"}, "Mux"),
        ({"user-agent": "claude-cli/2.0.14 (external, cli)"}, "Claude Code"),
        ({"user-agent": "Claude-Code/1"}, "Claude Code"),
        ({"user-agent": "codex_cli_rs/0.46.0 (Mac OS)"}, "Codex"),
        ({"user-agent": "x", "originator": "codex_vscode"}, "Codex"),
        ({"user-agent": "Zed/0.200"}, "Zed"),
        ({"user-agent": "GitHubCopilotChat/0.31"}, "GitHub Copilot (VS Code)"),
        ({"user-agent": "copilot/0.0.339"}, "GitHub Copilot (CLI)"),
        ({"user-agent": "Kilo-Code/4.9"}, "Kilo Code"),
        ({"user-agent": "OpenAI/JS 5", "originator": "kilo-code"}, "Kilo Code"),
        ({"user-agent": "roo-code/3"}, "Roo Code"),
        ({"originator": "Roo-Code"}, "Roo Code"),
        ({"user-agent": "coder-agents/1"}, "Coder Agents"),
        ({"user-agent": "Charm Crush/0.11"}, "Charm Crush"),
        ({"user-agent": "undici", "x-cursor-client-version": "1.7"}, "Cursor"),
        ({"user-agent": "opencode/0.15"}, "OpenCode"),
        ({"user-agent": "GeminiCLI/0.9"}, "Gemini CLI"),
        (
            {"user-agent": "CloudCodeVSCode/0.61.0 (aidev_client; proxy_client=geminicli)"},
            "Gemini CLI (VS Code)",
        ),
        ({"user-agent": "QwenCode/0.0.14"}, "Qwen Code"),
        ({"user-agent": "OpenAI/Python 2.3.0"}, "OpenAI SDK (Python)"),
        ({"user-agent": "AsyncOpenAI/Python 2.3.0"}, "OpenAI SDK (Python)"),
        ({"user-agent": "OpenAI/JS 6.3.0"}, "OpenAI SDK (JavaScript)"),
        ({"user-agent": "Anthropic/Python 0.71"}, "Anthropic SDK (Python)"),
        ({"user-agent": "AsyncAnthropic/Python 0.71"}, "Anthropic SDK (Python)"),
        ({"user-agent": "AnthropicBedrock/Python 2.12"}, "Anthropic SDK (Python)"),
        ({"user-agent": "AsyncAnthropicVertex/Python 2.12"}, "Anthropic SDK (Python)"),
        ({"user-agent": "AnthropicFoundry/Python 2.12"}, "Anthropic SDK (Python)"),
        ({"user-agent": "Boto3/1.43.8 md/Botocore#1.43.8 ua/2.1"}, "AWS SDK (Python)"),
        ({"user-agent": "Anthropic/JS 0.66"}, "Anthropic SDK (JavaScript)"),
        ({"user-agent": "litellm/1.110.2"}, "LiteLLM"),
        ({"user-agent": "pydantic-ai/2.68.0"}, "Pydantic AI"),
        ({"user-agent": "Agents/Python 0.24.0"}, "OpenAI Agents SDK"),
        ({"user-agent": "langchain-anthropic/1.7.10"}, "LangChain"),
        ({"user-agent": "ai/6.0.326 ai-sdk/provider-utils/4.0.66"}, "Vercel AI SDK"),
        ({"user-agent": "ai-sdk/anthropic/4.0.42 runtime/bun/1.3.13"}, "Vercel AI SDK"),
        ({"user-agent": "node-fetch"}, "node-fetch"),
        (
            {"user-agent": "OpenAI/JS 5.20.1", "x-interaction-type": "conversation-user"},
            "GitHub Copilot (CLI)",
        ),
        (
            {"user-agent": "Anthropic/JS 0.94.0", "x-interaction-type": "conversation-agent"},
            "GitHub Copilot (CLI)",
        ),
        ({"user-agent": "curl/8.5"}, "curl"),
        ({"user-agent": "not claude"}, "Unknown"),
        ({"user-agent": "", "originator": ""}, "Unknown"),
        ({}, "Unknown"),
    ],
)
def test_client_is_recognised_by_the_beginning_of_its_user_agent_or_by_a_header(
    headers: dict[str, str], name: Any
) -> None:
    assert recognise(headers).name == name


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_every_client_program_is_recognised_by_each_of_its_signs(client: Any) -> None:
    for prefix in client.user_agents:
        assert recognise({"user-agent": prefix.upper() + "1.0"}) is client
    for prefix in client.originators:
        assert recognise({"user-agent": "node", "originator": prefix}) is client
    if client.header:
        assert recognise({client.header: ""}) is client


AIDER = "Act as an expert software developer.\nAlways use best practices when coding."


@pytest.mark.parametrize(
    ("user_agent", "system", "name"),
    [
        ("ai-sdk/anthropic/4.0.42", ("You are Cline, an AI coding agent.",), "Cline"),
        ("node-fetch", ("You are an agent in the Continue CLI. Given …",), "Continue"),
        ("litellm/1.81.10", (AIDER,), "aider"),
        ("claude-cli/0.24.4 (external, cli)", ("You are Qwen Code, an agent",), "Qwen Code"),
        ("claude-cli/2.1.332 (external, cli)", ("You are Claude Code, …",), "Claude Code"),
        ("OpenAI/Python 2.20.0", ("x", AIDER), "aider"),
        ("", (AIDER,), "aider"),
        ("litellm/1.81.10", ("Be nice.",), "LiteLLM"),
        ("claude-cli/2", (AIDER,), "Claude Code"),
    ],
)
def test_program_on_a_library_is_recognised_by_its_system_prompt(
    user_agent: str, system: tuple[str, ...], name: Any
) -> None:
    assert recognise({"user-agent": user_agent}, system).name == name


def test_user_agent_alone_does_not_take_what_stands_later_in_the_table_for_its_own() -> None:
    assert recognise({"user-agent": "claude", "originator": "opencode"}).name == "Claude Code"


# Sessions


@pytest.mark.parametrize(
    ("user_agent", "header"),
    [
        ("mux/1", "x-mux-workspace-id"),
        ("claude-cli/1", "x-claude-code-session-id"),
        ("codex/1", "session-id"),
        ("codex/1", "session_id"),
        ("githubcopilotchat/1", "x-interaction-id"),
        ("copilot/1", "x-client-session-id"),
        ("kilo-code/1", "x-kilocode-taskid"),
        ("opencode/1", "x-session-id"),
        ("opencode/1", "x-opencode-session"),
        ("opencode/1", "x-session-affinity"),
        ("coder-agents/1", "x-coder-chat-id"),
    ],
)
def test_each_client_names_its_session_in_its_own_header(user_agent: str, header: Any) -> None:
    headers = {"user-agent": user_agent, header: " s-1 "}

    assert session_of(recognise(headers), headers, None) == "s-1"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_first_session_header_that_is_not_blank_counts(client: Any) -> None:
    headers = dict.fromkeys(client.session_headers, "")
    assert session_of(client, headers, None) is None
    for number, name in reversed(list(enumerate(client.session_headers))):
        headers[name] = f"s-{number}"
        assert session_of(client, headers, "of the body") == f"s-{number}"


@pytest.mark.parametrize("client", [CLAUDE_CODE, CODEX], ids=lambda client: client.name)
def test_body_names_the_session_where_no_header_does(client: Any) -> None:
    (first, *_) = client.session_headers

    assert session_of(client, {first: "h"}, "b") == "h"
    assert session_of(client, {first: "  "}, " b ") == "b"
    assert session_of(client, {}, "  ") is None
    assert session_of(client, {}, None) is None


def test_session_header_of_another_client_is_ignored() -> None:
    unknown = recognise({})

    assert session_of(unknown, {"x-session-id": "s"}, "b") is None
    assert session_of(CODEX, {"x-claude-code-session-id": "s"}, None) is None
    assert session_of(recognise({"user-agent": "opencode"}), {}, "b") is None


def test_sub_agent_of_claude_code_is_named_in_the_metadata() -> None:
    assert client_metadata({"x-claude-code-agent-id": " a-1 "}) == {"claude_code_agent_id": "a-1"}
    assert client_metadata({"x-claude-code-agent-id": " "}) == {}
    assert client_metadata({}) == {}


# Credentials

SECRET = "sk-ant-0123456789abcdef"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": SECRET},
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer   {SECRET} "},
        {"api-key": SECRET},
        {"x-goog-api-key": SECRET},
        {"x-api-key": SECRET, "authorization": "Bearer other"},
        {"x-api-key": " ", "authorization": f"Bearer {SECRET}"},
        {"x-api-key": "Bearer", "authorization": f"Bearer {SECRET}"},
    ],
)
def test_client_s_own_credential_is_found(headers: dict[str, str]) -> None:
    assert own_credential(headers) == Credential(kind="byok", secret=SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-ant-oat01-abc"},
        {"authorization": "Bearer tid=1;exp=2"},
        {"authorization": "Bearer eyJhbGciOi", "chatgpt-account-id": "a-1"},
    ],
)
def test_login_of_a_subscription_is_told_from_a_key(headers: dict[str, str]) -> None:
    credential = own_credential(headers)

    assert credential
    assert credential.kind == "subscription"


def test_header_with_another_scheme_is_a_credential_including_the_scheme() -> None:
    assert own_credential({"authorization": "Basic dTpw"}) == Credential(
        kind="byok", secret="Basic dTpw"
    )


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": ""}, {"authorization": "Bearer "}, {"authorization": " "}]
)
def test_empty_credential_header_is_ignored(headers: dict[str, str]) -> None:
    assert own_credential(headers) is None


@pytest.mark.parametrize("length", range(26))
def test_mask_shows_as_much_as_the_rule_says(length: Any) -> None:
    secret = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:length]
    shown = 0 if length < 5 else 1 if length < 10 else 2 if length < 20 else 4

    masked = mask(secret)

    assert masked == f"{secret[:shown]}...{secret[length - shown :]}"
    assert len(masked) == 3 + 2 * shown


@given(st.text(min_size=1, alphabet=st.characters(exclude_characters=".")))
def test_mask_never_shows_a_whole_secret(secret: str) -> None:
    shown = mask(secret)

    assert secret not in shown
    assert len(shown.replace("...", "")) < len(secret)


def test_fingerprint_is_the_sha256_of_the_secret() -> None:
    credential = Credential(kind="byok", secret="sk-ü")

    assert credential.fingerprint == "sha256:" + hashlib.sha256("sk-ü".encode()).hexdigest()


def test_credential_is_shown_without_its_secret() -> None:
    credential = Credential(kind="byok", secret=SECRET)

    assert SECRET not in repr(credential)
    assert credential.hint == "sk-a...cdef"


# Actors

KEY = Credential(kind="byok", secret=SECRET)
ALICE, BOB, CAROL = (Actor(id=name, metadata={"team": "x"}) for name in ("alice", "bob", "carol"))
KNOWN = {KEY.fingerprint: ALICE, "b-header": BOB, "c-user": CAROL}


def actor(
    proxy_user: str | None = None,
    header_value: str | None = None,
    credential: Credential | None = None,
    known_actors: dict[str, Actor] = KNOWN,
    token_owner: str | None = None,
) -> Actor:
    return actor_of(
        proxy_user=proxy_user,
        token_owner=token_owner,
        header_value=header_value,
        credential=credential,
        known_actors=known_actors,
    )


def test_actor_is_named_by_login_token_header_or_credential_in_this_order() -> None:
    assert actor("c-user", "b-header", KEY) == CAROL
    assert actor("dave", "b-header", KEY) == Actor(id="dave")
    assert actor("dave", "b-header", KEY, token_owner="frank") == Actor(id="dave")
    assert actor(None, "b-header", KEY, token_owner="c-user") == CAROL
    assert actor(None, "b-header", KEY, token_owner="frank") == Actor(id="frank")
    assert actor(None, "b-header", KEY) == BOB
    assert actor(None, "erin", KEY) == Actor(id="erin")
    assert actor(None, None, KEY) == ALICE
    assert actor(None, "", KEY) == ALICE


def test_sender_without_any_identity_is_anonymous() -> None:
    assert actor() == Actor(id="anonymous")
    assert actor(credential=Credential(kind="byok", secret="other")) == Actor(id="anonymous")
    assert actor(credential=KEY, known_actors={}) == Actor(id="anonymous")


@pytest.mark.parametrize("blank", ["", "  ", "\x00\x1b\r\n", "\u2028\u200b"])
def test_blank_actor_name_is_ignored(blank: Any) -> None:
    assert actor(proxy_user=blank, header_value=blank, credential=KEY) == ALICE
    assert actor(proxy_user=blank, header_value=blank) == Actor(id="anonymous")


def test_control_characters_are_left_out_of_a_name() -> None:
    assert actor(header_value=" al\x00i\x1b[31mce\r\n\u202e ") == Actor(id="ali[31mce")
    assert actor(proxy_user="al\x07ice") == Actor(id="alice")
    assert actor(header_value="b-\x00header") == BOB


def test_name_is_bounded() -> None:
    assert actor(header_value="a" * 10_000).id == "a" * 256


def test_printable_characters_stay_in_an_actor_name() -> None:
    assert actor(header_value="Zoë Müller 李 @search").id == "Zoë Müller 李 @search"
