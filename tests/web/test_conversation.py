"""The conversation page: chat, inner loop, changes, curl and export."""

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from report.rows import call_row, request_row, tool_row
from starlette.testclient import TestClient

from aibridge_addon.report.rows import InterceptionDetail
from aibridge_addon.web.curl import curl_command
from aibridge_addon.web.curl_targets import target_of
from web.conftest import recorded
from web.contents import (
    ANSWERED,
    ASKED,
    CALLED,
    RESULT,
    SYSTEM,
    anthropic_request,
    anthropic_response,
    with_content,
)
from web.memory import MemoryReports

ASSISTANT = {"role": "assistant", "content": CALLED}
HOSTILE = '</pre></textarea><script>alert("x")</script><img src=x onerror=alert(1)>'


def first_turn() -> InterceptionDetail:
    return with_content(recorded("r-1"), (anthropic_request(ASKED), anthropic_response(CALLED)))


def second_turn(system: str = SYSTEM) -> InterceptionDetail:
    request = anthropic_request(ASKED, ASSISTANT, RESULT, system=system)
    made = with_content(recorded("r-2"), (request, anthropic_response(ANSWERED, "msg_2")))
    return replace(made, previous_id="r-1")


def central_turn() -> InterceptionDetail:
    follow_up = anthropic_request(ASKED, ASSISTANT, RESULT)
    made = with_content(
        recorded("r-3", session=None),
        (anthropic_request(ASKED), anthropic_response(CALLED)),
        (follow_up, anthropic_response(ANSWERED, "msg_2")),
    )
    calls = (
        call_row(upstream=0, response_id="msg_1", cost_nano_usd=4_000_000),
        call_row(id="u-2", upstream=1, response_id="msg_2", cost_nano_usd=None),
    )
    tool = tool_row(tool="Read", call_id="tu_1", injected=True, duration_ms=120, server_url="stdio")
    return replace(made, calls=calls, tools=(tool,))


@pytest.fixture
def page(operator: TestClient, reports: MemoryReports) -> TestClient:
    reports.details += [first_turn(), second_turn(), central_turn()]
    return operator


def test_chat_shows_what_was_typed_and_what_came_back(page: TestClient) -> None:
    text = page.get("/requests/r-1").text
    assert "Why does the parser drop the <strong>last</strong> event?" in text
    assert "I should read the file." in text
    assert "Tool call Read" in text
    assert "/repo/sse.py" in text
    assert "1 tool offered" in text
    assert "Be concise." in text


def test_messages_that_are_sent_again_are_folded(page: TestClient) -> None:
    text = page.get("/requests/r-2").text
    assert "Show the 2 earlier messages" in text
    assert "drop the <strong>last</strong>" not in text
    assert "Result of Read" in text, "named by the call in an earlier message"
    assert "drop the <strong>last</strong>" in page.get("/requests/r-2?earlier=1").text


def test_session_is_listed_beside_the_chat(page: TestClient) -> None:
    text = page.get("/requests/r-2").text
    turns = re.findall(r'<a class="open" href="(/requests/[\w-]+)"( aria-current="page")?', text)
    assert turns == [
        ("/requests/r-alice", ""),
        ("/requests/r-1", ""),
        ("/requests/r-2", ' aria-current="page"'),
    ]


def test_inner_loop_is_a_tree_with_time_and_money(page: TestClient) -> None:
    text = page.get("/requests/r-3").text
    assert text.index("Upstream request 1") < text.index("Tool call Read")
    assert text.index("Tool call Read") < text.index("Result of Read")
    assert text.index("Result of Read") < text.index("Upstream request 2")
    assert "$0.0040" in text
    assert "120ms" in text
    assert "central" in text


@pytest.mark.parametrize(("system", "marked"), [("Be verbose.", True), (SYSTEM, False)])
def test_changed_system_prompt_is_marked(
    operator: TestClient, reports: MemoryReports, system: str, *, marked: bool
) -> None:
    reports.details += [first_turn(), second_turn(system)]
    text = operator.get("/requests/r-2").text
    assert ("changed since the last request" in text) is marked


def test_changes_since_the_previous_request_are_shown(
    operator: TestClient, reports: MemoryReports
) -> None:
    reports.details += [first_turn(), second_turn("You are a helpful assistant.\nBe verbose.")]
    text = operator.get("/requests/r-2/changes").text
    lines = re.findall(r'<span class="(\w+)">(.*?)</span>', text)
    assert ("removed", "− Be concise.") in lines
    assert ("added", "+ Be verbose.") in lines
    assert ("same", "  You are a helpful assistant.") in lines
    assert "class SSEParser: ..." in text
    assert "1 message unchanged" in text
    assert "Parameters" not in text


def test_first_request_of_a_session_has_no_changes(page: TestClient) -> None:
    assert "first request of its conversation" in page.get("/requests/r-1/changes").text


def test_curl_command_has_the_body_and_no_secret(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "it's $HOME `x` \\ \n'quoted'"}
    sent = anthropic_request(asked)
    command = curl_command(with_content(recorded("r-1"), (sent, None)))
    assert "$ANTHROPIC_API_KEY" in command
    assert "sk-a" not in command
    script = f"curl() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, check=True, env={"ANTHROPIC_API_KEY": "key"}
    )
    words = done.stdout.decode().split("\0")[:-1]
    assert words[0] == "https://api.anthropic.com/v1/messages"
    assert "x-api-key: key" in words
    assert json.loads(words[words.index("-d") + 1]) == sent
    assert shlex.split(command, comments=False)


@pytest.mark.parametrize(
    ("api", "sent"),
    [
        (
            "openai_chat",
            {
                "model": "m",
                "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            },
        ),
        (
            "openai_responses",
            {"model": "m", "instructions": "s", "input": [{"role": "user", "content": "u"}]},
        ),
        (
            "anthropic_messages",
            anthropic_request(ASKED, system=[{"type": "text", "text": "s"}] * 2),
        ),
    ],
)
def test_curl_command_holds_the_body_of_each_format(api: str, sent: dict[str, object]) -> None:
    provider = "anthropic" if api == "anthropic_messages" else "openai"
    made = recorded("r-1", api=api, provider=provider)
    command = curl_command(with_content(made, (sent, None)))
    body = command.partition("  -d ")[2]
    assert json.loads(shlex.split(body)[0]) == sent


@pytest.mark.parametrize(
    ("provider", "api", "url", "header"),
    [
        ("openai", "openai_chat", "https://api.openai.com/v1/chat/completions", "Bearer key"),
        ("groq", "openai_chat", "https://api.groq.com/openai/v1/chat/completions", "Bearer key"),
        ("openrouter", "anthropic_messages", "https://openrouter.ai/api/v1/messages", ": key"),
        (
            "vertex",
            "anthropic_messages",
            "https://here-aiplatform.googleapis.com/v1/projects/p/locations/here/publishers"
            "/anthropic/models/a%2Fb@1:streamRawPredict",
            "Bearer token",
        ),
        (
            "bedrock",
            "bedrock_invoke",
            "https://bedrock-runtime.here.amazonaws.com/model/a%2Fb@1/invoke-with-response-stream",
            "Bearer key",
        ),
        (
            "gemini",
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/models/a%2Fb@1"
            ":streamGenerateContent?alt=sse",
            "x-goog-api-key: key",
        ),
        ("azure", "openai_chat", "https://az/openai/v1/chat/completions", "api-key: key"),
        ("ollama", "ollama_chat", "http://localhost:11434/api/chat", "content-type"),
        ("my own", "openai_responses", "https://mine/responses", "Bearer key"),
    ],
)
def test_curl_command_names_the_host_and_path_of_the_call(
    provider: str, api: str, url: str, header: str
) -> None:
    [target, *headers] = target_of(request_row(provider=provider, api=api, model="a/b@1")) or ()
    keys = ("OPENAI", "GROQ", "OPENROUTER", "GEMINI", "AZURE_OPENAI", "MY_OWN")
    variables = {f"{name}_API_KEY": "key" for name in keys} | {
        "AWS_BEARER_TOKEN_BEDROCK": "key",
        **dict.fromkeys(("AWS_REGION", "CLOUD_ML_REGION"), "here"),
        "GOOGLE_CLOUD_PROJECT": "p",
        "AZURE_OPENAI_ENDPOINT": "https://az",
        "MY_OWN_BASE_URL": "https://mine",
    }
    script = f"gcloud() {{ echo token; }}\nprintf '%s\\n' {' '.join((target, *headers))}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env=variables)
    shown = done.stdout.decode().splitlines()
    assert shown[0] == url
    assert header == "content-type" or shown[1].endswith(header)


def test_call_with_the_login_of_a_program_has_no_curl_command() -> None:
    for provider in ("chatgpt", "copilot", "code-assist"):
        assert target_of(request_row(provider=provider, api="openai_responses")) is None


def test_request_without_content_says_how_to_record_it(operator: TestClient) -> None:
    assert "aibridge_capture=requests records it" in operator.get("/requests/r-alice").text


@pytest.mark.parametrize("path", ["/requests/r-x", "/requests/r-x?earlier=1", "/requests"])
def test_hostile_content_is_escaped(
    operator: TestClient, reports: MemoryReports, path: str
) -> None:
    message = {"role": HOSTILE, "content": [{"type": HOSTILE, "text": HOSTILE}, HOSTILE]}
    call = {"type": "tool_use", "id": "x", "name": HOSTILE, "input": {HOSTILE: HOSTILE}}
    result = {"type": "tool_result", "tool_use_id": "x", "content": HOSTILE}
    request = anthropic_request(
        {"role": "user", "content": HOSTILE},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
        message,
        system=HOSTILE,
        model=HOSTILE,
        tools=[{"name": HOSTILE, "description": HOSTILE}],
        metadata={HOSTILE: HOSTILE},
    )
    response = anthropic_response([{"type": "text", "text": HOSTILE}, call]) | {"model": HOSTILE}
    row = dict.fromkeys(("actor", "client", "model", "served_model", "prompt", "session"), HOSTILE)
    made = with_content(
        recorded("r-x", **row, tools=(HOSTILE,), error_message=HOSTILE, error_type=HOSTILE),
        (request, response),
    )
    reports.details.append(replace(made, user_agent=HOSTILE, credential_hint=HOSTILE))
    text = operator.get(path).text
    assert HOSTILE.partition("<script>")[2][:8] in text.replace("&#34;", '"')
    assert "<script>alert" not in text
    assert "<img" not in text


def test_names_cannot_hide_or_reverse_text(operator: TestClient, reports: MemoryReports) -> None:
    reports.details.append(recorded("r-y", model="a\u202egpt\x07\n"))
    text = operator.get("/requests").text
    assert "\u202e" not in text
    assert "a\ufffdgpt\ufffd\ufffd" in text


def test_half_surrogates_break_no_page(operator: TestClient, reports: MemoryReports) -> None:
    call = {"type": "tool_use", "id": "x", "name": "Write", "input": {"text": "a\ud800b"}}
    request = anthropic_request({"role": "user", "content": "half \ud83d"})
    reports.details.append(with_content(recorded("r-half"), (request, anthropic_response([call]))))
    for path in ("/requests/r-half", "/requests/r-half/export", "/export", "/sessions/s-1/export"):
        assert operator.get(path).status_code == 200, path


def test_export_of_a_request_holds_its_content(page: TestClient) -> None:
    response = page.get("/requests/r-2/export")
    exported = response.json()
    assert exported["id"] == "r-2"
    assert exported["messages"][-1]["content"]["id"] == "msg_2"
    assert "attachment" in response.headers["content-disposition"]


def test_export_of_a_list_is_a_line_per_request(page: TestClient) -> None:
    lines = page.get("/export?session=s-1").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["r-alice", "r-1", "r-2"]


def test_export_of_a_session_is_one_page(page: TestClient) -> None:
    response = page.get("/sessions/s-1/export?actor=alice")
    assert "attachment" in response.headers["content-disposition"]
    assert "/repo/sse.py" in response.text
    assert not re.search(r"""(src|href)=["']?(https?:|/)""", response.text)


def test_session_leads_to_its_newest_request(page: TestClient) -> None:
    response = page.get("/sessions/s-1?actor=alice", follow_redirects=False)
    assert response.headers["location"] == "/requests/r-2"
