"""Other programs: opencode, the SDKs in Python and JavaScript, llm, aider, Copilot CLI."""

from collections.abc import Callable

import pytest
from e2e.proxy import Proxy

from clients.asking import (
    HELLO,
    JAVASCRIPT,
    KEYS,
    aider,
    by_sdks,
    check,
    copilot,
    copilot_with_github,
    google_javascript,
    javascript,
    js_modules,
    llm,
    opencode,
    python,
)
from clients.conftest import MakeDesk
from clients.places import Desk, Mode
from clients.programs import NODE_24, program

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])


# --- opencode


@each_mode
@pytest.mark.parametrize(
    ("model", "api"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic_messages"),
        ("openai/gpt-5", "openai_responses"),
    ],
)
def test_opencode_is_recorded(desk: Desk, mode: Mode, model: str, api: str) -> None:
    typed = "USE_TOOL:bash"  # without arguments: it sends what was typed as a JSON string
    with desk.proxy.recording() as records:
        ran = opencode(desk, model, typed, mode=mode)
    assert ran.code == 0
    assert "The tool returned: " in ran.out
    rows = [row for row in records.interceptions if row["model"] == model.partition("/")[2]]
    assert {row["api"] for row in rows} == {api}
    assert {row["client"] for row in records.interceptions} == {"OpenCode"}
    assert {row["status"] for row in records.interceptions} == {"completed"}
    assert len({row["client_session_id"] for row in records.interceptions}) == 1
    assert rows[0]["client_session_id"].startswith("ses_")
    [call] = [row for row in records.tool_usages if row["tool"] == "bash"]
    assert call["input"]["command"] == "text"
    assert call["tool_call_id"] in {row["correlating_tool_call_id"] for row in rows}
    assert records.prompts == [typed]
    assert {row["request_kind"] for row in records.interceptions} == {"title", "turn"}
    assert len(records.token_usages) == len(records.interceptions)


# --- SDKs


@each_mode
def test_python_sdks_are_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran = python(desk, mode=mode)
    assert ran.out.splitlines() == [HELLO] * 5
    by_sdks(records, "Python")


@each_mode
def test_javascript_sdks_are_recorded(desk: Desk, mode: Mode) -> None:
    """Older versions of Node ignore HTTPS_PROXY, so it is given base URLs in both modes."""
    with desk.proxy.recording() as records:
        ran = javascript(desk, mode=mode)
    assert ran.out.splitlines() == [HELLO] * 5
    by_sdks(records, "JavaScript")


def test_newer_node_uses_the_forward_proxy(desk: Desk) -> None:
    """As where a program of any name starts it: there is no base URL then."""
    with desk.proxy.recording() as records:
        ran = desk.run(
            [program(NODE_24), "-e", JAVASCRIPT],
            mode="forward",
            client="any",
            env=KEYS | js_modules(),
        )
    assert ran.out.splitlines() == [HELLO] * 5
    by_sdks(records, "JavaScript")


@each_mode
def test_google_sdk_of_javascript_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran = google_javascript(desk, mode=mode)
    assert ran.out.splitlines() == [HELLO] * 2
    rows = [(row["api"], row["model"], row["streaming"]) for row in records.interceptions]
    assert rows == [("gemini", "gemini-2.5-flash", 0), ("gemini", "gemini-2.5-flash", 1)]
    assert {row["status"] for row in records.interceptions} == {"completed"}
    assert len(records.token_usages) == 2
    assert records.prompts == ["hello"] * 2


# --- llm and aider


@each_mode
@pytest.mark.parametrize(
    ("model", "api", "client"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic_messages", "Anthropic SDK (Python)"),
        ("gpt-4o", "openai_chat", "OpenAI SDK (Python)"),
    ],
)
def test_llm_is_recorded(desk: Desk, mode: Mode, model: str, api: str, client: str) -> None:
    with desk.proxy.recording() as records:
        ran = llm(desk, model, "hello", mode=mode)
    assert ran.code == 0
    assert ran.out.strip() == HELLO
    check(records, client, [api])
    assert records.prompts == ["hello"]


@each_mode
@pytest.mark.parametrize(
    ("model", "api"),
    [("anthropic/claude-sonnet-4-5", "anthropic_messages"), ("openai/gpt-4o", "openai_chat")],
)
def test_aider_is_recorded(desk: Desk, mode: Mode, model: str, api: str) -> None:
    with desk.proxy.recording() as records:
        ran = aider(desk, model, "hello", mode=mode)
    assert ran.code == 0
    assert HELLO in ran.out
    row = records.interception
    assert (row["api"], row["status"], row["streaming"]) == (api, "completed", 1)
    assert row["client"] == "aider"
    assert records.prompts == ["hello"]  # it appends rules of its own
    # At a base URL it does not ask OpenAI for the usage.
    expected = mode == "forward" or api != "openai_chat"
    assert len(records.token_usages) == expected


def test_aider_works_when_the_proxy_requests_usage(
    start_proxy: Callable[..., Proxy], make_desk: MakeDesk
) -> None:
    proxy = start_proxy(options={"aibridge_ask_chat_usage": True})
    with proxy.recording() as records:
        aider(make_desk(proxy), "openai/gpt-4o", "hello", mode="reverse")
    assert records.interception["status"] == "completed"
    assert records.usage["output_tokens"] > 0


# --- GitHub Copilot CLI


@pytest.mark.parametrize(
    ("mode", "api"),
    [
        ("forward", "openai_responses"),
        ("forward", "anthropic_messages"),
        ("reverse", "openai_chat"),
    ],
)
def test_copilot_with_a_key_of_the_user_is_recorded(desk: Desk, mode: Mode, api: str) -> None:
    host = "api.anthropic.com" if api == "anthropic_messages" else "api.openai.com/v1"
    name = "anthropic" if api == "anthropic_messages" else "openai/v1"
    reverse = f"http://127.0.0.1:{desk.proxy.reverse_port}/{name}"
    with desk.proxy.recording() as records:
        ran = copilot(
            desk,
            "hello",
            mode=mode,
            api=api,
            base_url=f"https://{host}" if mode == "forward" else reverse,
        )
    assert (ran.code, ran.out.strip()) == (0, HELLO)
    assert {row["client"] for row in records.interceptions} == {"GitHub Copilot (CLI)"}
    row = records.interceptions[-1]
    assert (row["api"], row["request_kind"], row["status"]) == (api, "turn", "completed")
    assert records.prompts == ["hello"]
    assert len(records.token_usages) == len(records.interceptions)


@each_mode
@pytest.mark.parametrize(
    ("model", "api"),
    [
        ("claude-sonnet-5", "anthropic_messages"),
        ("claude-haiku-4.5", "openai_chat"),
        ("gpt-5.6-sol", "openai_responses"),
    ],
)
def test_copilot_with_a_token_of_github_is_recorded(
    desk: Desk, mode: Mode, model: str, api: str
) -> None:
    """Whatever the mode, it asks GitHub itself who the user is."""
    _, way_to_github = desk.prepare(["copilot"], "copilot", "forward")
    env = {**way_to_github, "COPILOT_MODEL": model}
    if mode == "reverse":
        past = "127.0.0.1,.githubcopilot.com"  # nothing can come through the forward proxy
        env |= {"COPILOT_API_URL": f"{desk.proxy.reverse_url}/copilot"}
        env |= {"NO_PROXY": past, "no_proxy": past}
    with desk.proxy.recording() as records:
        ran = copilot_with_github(desk, "hello TOKENS:11,7", mode="forward", env=env)
    assert (ran.code, ran.out.strip()) == (0, HELLO)
    [row] = records.interceptions
    assert (row["provider"], row["api"], row["model"]) == ("copilot", api, model)
    assert (row["client"], row["request_kind"]) == ("GitHub Copilot (CLI)", "turn")
    assert (row["status"], row["credential_kind"]) == ("completed", "subscription")
    assert row["client_session_id"]
    assert records.prompts == ["hello TOKENS:11,7"]
    assert records.counts[:2] == (11, 7)
