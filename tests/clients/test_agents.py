"""Other coding agents: Qwen Code, Cline CLI and Continue CLI."""

import pytest
from e2e.records import Records, Row

from clients.agents import cline, continue_cli, qwen
from clients.asking import HELLO
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])
ASKED = "hello TOKENS:11,7"


def answered(records: Records, api: str, client: str) -> Row:
    """Assert that all is recorded; return the request of the typed prompt."""
    rows = records.interceptions
    assert {(row["api"], row["client"], row["status"]) for row in rows} == {
        (api, client, "completed")
    }
    assert records.prompts == [ASKED]
    [prompt] = records.user_prompts
    [row] = [row for row in rows if row["id"] == prompt["interception_id"]]
    [usage] = [used for used in records.token_usages if used["interception_id"] == row["id"]]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    return row


@each_mode
@pytest.mark.parametrize("api", ["openai_chat", "anthropic_messages", "gemini"])
def test_qwen_code_is_recorded(desk: Desk, mode: Mode, api: str) -> None:
    with desk.proxy.recording() as records:
        ran = qwen(desk, ASKED, mode=mode, api=api)
    assert ran.code == 0
    assert HELLO in ran.out
    answered(records, api, "Qwen Code")


@pytest.mark.parametrize(
    ("mode", "kind", "api"),
    [
        ("forward", "anthropic", "anthropic_messages"),  # it takes no base URL for Anthropic
        ("forward", "openai-native", "openai_responses"),
        ("reverse", "openai-native", "openai_responses"),
        ("reverse", "openai", "openai_chat"),
    ],
)
def test_cline_cli_is_recorded(desk: Desk, mode: Mode, kind: str, api: str) -> None:
    base_url = f"{desk.proxy.reverse_url}/openai/v1" if mode == "reverse" else None
    with desk.proxy.recording() as records:
        ran = cline(desk, ASKED, mode=mode, kind=kind, base_url=base_url)
    assert ran.code == 0
    assert HELLO in ran.out
    answered(records, api, "Cline")


@each_mode
@pytest.mark.parametrize(
    ("kind", "api"), [("anthropic", "anthropic_messages"), ("openai", "openai_chat")]
)
def test_continue_cli_is_recorded(desk: Desk, mode: Mode, kind: str, api: str) -> None:
    part = "anthropic/v1" if kind == "anthropic" else "openai/v1"
    base_url = f"{desk.proxy.reverse_url}/{part}/" if mode == "reverse" else None
    with desk.proxy.recording() as records:
        ran = continue_cli(desk, ASKED, mode=mode, kind=kind, base_url=base_url)
    assert ran.code == 0
    assert HELLO in ran.out
    answered(records, api, "Continue")
