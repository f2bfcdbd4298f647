"""Gemini CLI with a key, with Vertex AI, and with a login at Google (Code Assist)."""

from typing import Any

import pytest
from e2e.central import ADD
from e2e.conftest import StartStandin
from e2e.records import Records

from clients import gemini as logins
from clients.asking import HELLO
from clients.gemini import gemini
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])
ASKED = "hello TOKENS:11,7"


def answered(records: Records, provider: str, client: str = "Gemini CLI") -> dict[str, Any]:
    """Assert that all is recorded under one provider; return the request of the typed prompt."""
    rows = records.interceptions
    assert {row["client"] for row in rows} == {client}
    assert {(row["api"], row["provider"], row["status"]) for row in rows} == {
        ("gemini", provider, "completed")
    }
    # It asks a small model first which model is to answer.
    assert {row["request_kind"] for row in rows[:-1]} <= {"side"}
    last: dict[str, Any] = rows[-1]
    assert (last["request_kind"], last["streaming"]) == ("turn", 1)
    assert records.prompts == [ASKED]
    assert len(records.token_usages) == len(rows)
    [usage] = [row for row in records.token_usages if row["interception_id"] == last["id"]]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    return last


@each_mode
def test_gemini_cli_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran, output = gemini(desk, ASKED, mode=mode)
    assert (ran.code, output["response"]) == (0, HELLO)
    assert answered(records, "gemini")["credential_hint"] == "AIza...ghij"


def test_gemini_cli_in_a_terminal_of_vs_code_is_recorded(desk: Desk) -> None:
    with desk.proxy.recording() as records:
        ran, output = gemini(
            desk, ASKED, mode="reverse", env=logins.GEMINI_KEY | {"TERM_PROGRAM": "vscode"}
        )
    assert (ran.code, output["response"]) == (0, HELLO)
    answered(records, "gemini", "Gemini CLI (VS Code)")


@each_mode
def test_gemini_cli_with_a_key_of_vertex_ai_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran, output = gemini(desk, ASKED, mode=mode, env=logins.VERTEX_KEY)
    assert (ran.code, output["response"]) == (0, HELLO)
    assert answered(records, "vertex")["credential_hint"] == "AIza...ghij"


@pytest.mark.parametrize("login", [logins.service_account, logins.user_credentials])
def test_gemini_cli_with_credentials_of_google_cloud_is_recorded(
    desk: Desk, login: logins.Login
) -> None:
    with desk.proxy.recording() as records:
        ran, output = gemini(desk, ASKED, mode="forward", env=login(desk))
    assert (ran.code, output["response"]) == (0, HELLO)
    assert answered(records, "vertex")["credential_kind"] == "byok"


def test_gemini_cli_with_credentials_of_google_cloud_uses_the_reverse_proxy(
    desk: Desk, start_standin: StartStandin
) -> None:
    """The token comes directly from Google: here from a stand-in, which a workload can name."""
    env = logins.workload(desk, f"{start_standin(tls=False).origin}/token")
    with desk.proxy.recording() as records:
        ran, output = gemini(desk, ASKED, mode="reverse", env=env)
    assert (ran.code, output["response"]) == (0, HELLO)
    assert answered(records, "vertex")["credential_kind"] == "byok"


@each_mode
@pytest.mark.parametrize("login", [logins.google_login, logins.google_access_token])
def test_gemini_cli_with_a_google_login_is_recorded(
    desk: Desk, mode: Mode, login: logins.Login
) -> None:
    """Also at the reverse proxy the login itself is checked at Google's own hosts."""
    _, way_to_google = desk.prepare(["gemini"], "gemini", "forward")
    with desk.proxy.recording() as records:
        ran, output = gemini(desk, ASKED, mode=mode, env=way_to_google | login(desk))
    assert (ran.code, output["response"]) == (0, HELLO)
    row = answered(records, "code-assist")
    assert row["client_session_id"] == output["session_id"]
    assert row["prompt_id"]


def test_gemini_cli_gets_an_answer_with_central_tools(central_desk: Desk) -> None:
    asked = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}}'
    with central_desk.proxy.recording() as records:
        ran, output = gemini(central_desk, asked, "-m", "gemini-2.5-flash", mode="forward")
    assert ran.code == 0
    assert output["response"].endswith("The tool returned: 42")
    [call] = records.tool_usages
    assert (call["tool"], call["injected"]) == ("add", 1)
    assert records.prompts == [asked]
