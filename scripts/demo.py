"""Demonstrates the addon on this machine alone, without a key or an account.

A real `mitmdump` with the addon, a stand-in for the providers, two real MCP servers whose tools
every client gets, and the real anthropic and openai SDKs, through the forward proxy (TLS, a
throw-away CA) and through the reverse proxy. At the end it prints the record and what was spent,
and on a terminal serves the web page until Enter. Everything lives in a temporary folder.
"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anthropic
import openai
from demo_calls import use_batch, use_google_calls, use_openai_calls, use_realtime
from demo_record import console, page, show, show_spent, show_unpriced, show_unread
from demo_servers import http_client, mcp_server, proxy, stand_in, trust
from demo_unread import use_unread_services

from aibridge_addon.store import open_store

CLAUDE, GPT = "claude-opus-4-8", "gpt-5.2"

TOOL = {
    "name": "get_weather",
    "description": "The weather of a city",
    "schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
# The words in capitals tell the stand-in what to do; see standin/plan.py.
ASK_TOOL = 'What is the weather in Berlin? USE_TOOL:get_weather ARGS:{"city": "Berlin"}'
AGENT = {
    "user-agent": "claude-cli/2.1 (external, cli)",
    "x-claude-code-session-id": "6f3c2f0e-demo-session",
}
AGENT_SYSTEM = "You are a coding agent.\n\n# Tone\nBe concise, and cite files as path:line."
AGENT_TURNS = (
    (
        "Why does the parser drop the last event? THINK USE_TOOL:Read"
        ' ARGS:{"path": "formats/sse.py"} TOKENS:2400,310,0,18000',
        'def close(self):\n    """Return the event that no blank line has ended."""\n',
    ),
    ("Thank you. Add a test for it, please. TOKENS:900,1250,21000,600", ""),
)
TOOL_RESULT = "18 degrees, light rain"


def main() -> None:
    """Run the demonstration."""
    started = time.monotonic()
    console.print("[bold]aibridge_addon[/bold]: what AI clients send and spend, recorded.\n")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aibridge-demo-")))
        step("A stand-in provider speaks the formats of Anthropic, OpenAI and Google, over TLS")
        provider = stack.enter_context(stand_in(folder))
        step("Two MCP servers have a tool each, over HTTP and over stdio")
        weather = stack.enter_context(mcp_server(folder))
        step("mitmdump, with the addon, is a forward and a reverse proxy at once")
        forward, reverse = stack.enter_context(proxy(folder, provider, weather))
        step("Frank and Bob use services that are not read; their tunnels are counted")
        use_unread_services(forward, provider["origin"])
        use_all(folder, forward, reverse)
        console.print("\nThis is what the database holds now:\n")
        show(folder / "aibridge.sqlite3")
        show_spent(open_store(str(folder / "aibridge.sqlite3")).reports())
        show_unpriced(folder / "aibridge.sqlite3")
        show_unread(open_store(str(folder / "aibridge.sqlite3")).reports())
        address = stack.enter_context(page(folder / "aibridge.sqlite3"))
        console.print(f"Done in {time.monotonic() - started:.0f} s. Everything is on this page:\n")
        console.print(f"  {address}\n", soft_wrap=True)
        if sys.stdin.isatty():
            console.input("Press Enter to end; nothing is left behind. ")


def use_all(folder: Path, forward: str, reverse: str) -> None:
    """Send the requests of all clients."""
    step("The anthropic SDK calls through the forward proxy, as with HTTPS_PROXY")
    with http_client(forward, folder) as http:
        use_anthropic(anthropic.Anthropic(api_key="sk-ant-demo-alice-0001", http_client=http))
    step("The openai SDK calls through the forward proxy")
    with http_client(forward, folder) as http:
        use_openai(openai.OpenAI(api_key="sk-demo-alice-0002", http_client=http))
    step("Both call through the reverse proxy, as with a base URL")
    bob = {"X-AIBridge-Actor": "bob"}
    use_anthropic(
        anthropic.Anthropic(
            api_key="sk-ant-demo-bob-00003",
            base_url=f"{reverse}/anthropic",
            default_headers=bob,
        )
    )
    use_openai(
        openai.OpenAI(
            api_key="sk-demo-bob-0004", base_url=f"{reverse}/openai/v1", default_headers=bob
        )
    )
    step("Dave's agent goes on with its conversation, which its cache remembers")
    use_agent(
        anthropic.Anthropic(
            api_key="sk-ant-demo-dave-0006",
            base_url=f"{reverse}/anthropic",
            default_headers={"X-AIBridge-Actor": "dave", **AGENT},
        )
    )
    step("Erin's programs make vectors, images, transcripts, speech, and a batch")
    erin = {"X-AIBridge-Actor": "erin"}
    with http_client(forward, folder, actor="erin") as http:
        client = openai.OpenAI(api_key="sk-demo-erin-0007", http_client=http, default_headers=erin)
        use_openai_calls(client)
        use_batch(client)
        step("They speak with models over WebSockets: OpenAI Realtime and Gemini Live")
        use_realtime(client, forward, trust(folder))
    use_google_calls(forward, trust(folder))
    step("Carol's clients know of no tools; the models call the central ones, live")
    carol = {"X-AIBridge-Actor": "carol"}
    use_central_tools(
        anthropic.Anthropic(
            api_key="sk-ant-demo-carol-005",
            base_url=f"{reverse}/anthropic",
            default_headers=carol,
        )
    )


def step(text: str) -> None:
    """Print the next step."""
    console.print(f"[green]•[/green] {text} …")


def use_anthropic(client: anthropic.Anthropic) -> None:
    """Send a plain request, a stream with thinking, and a request with a tool."""
    client.messages.create(
        model=CLAUDE, max_tokens=1024, messages=[{"role": "user", "content": "Hello, Claude."}]
    )
    with client.messages.stream(
        model=CLAUDE,
        max_tokens=1024,
        messages=[{"role": "user", "content": "Why is the sky blue? THINK"}],
    ) as stream:
        for _ in stream.text_stream:
            pass
    tools: Any = [
        {
            "name": TOOL["name"],
            "description": TOOL["description"],
            "input_schema": TOOL["schema"],
        }
    ]
    conversation: Any = [{"role": "user", "content": ASK_TOOL}]
    with client.messages.stream(
        model=CLAUDE, max_tokens=1024, tools=tools, messages=conversation
    ) as stream:
        answer = stream.get_final_message()
    call = next(block for block in answer.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": TOOL_RESULT}
    conversation += [
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    client.messages.create(model=CLAUDE, max_tokens=1024, tools=tools, messages=conversation)


def use_openai(client: openai.OpenAI) -> None:
    """Send requests in both APIs, streamed and not, with and without a tool."""
    client.chat.completions.create(
        model=GPT, messages=[{"role": "user", "content": "Hello by Chat Completions."}]
    )
    function: Any = {
        "name": TOOL["name"],
        "description": TOOL["description"],
        "parameters": TOOL["schema"],
    }
    for _ in client.chat.completions.create(
        model=GPT,
        messages=[{"role": "user", "content": ASK_TOOL}],
        tools=[{"type": "function", "function": function}],
        stream=True,
        stream_options={"include_usage": True},
    ):
        pass
    client.responses.create(model=GPT, input="Hello by Responses. TOKENS:40,6,80")
    asked = "Why is the sky blue? THINK TOKENS:42,18,82"
    with client.responses.stream(model=GPT, input=asked) as stream:
        stream.get_final_response()


def use_agent(client: anthropic.Anthropic) -> None:
    """Have a conversation as an agent does: a tool call, its result, and another question."""
    tools: Any = [
        {"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object"}}
    ]
    conversation: Any = []
    for text, result in AGENT_TURNS:
        conversation.append({"role": "user", "content": text})
        while True:
            with client.messages.stream(
                model=CLAUDE,
                max_tokens=32_000,
                system=AGENT_SYSTEM,
                tools=tools,
                messages=conversation,
            ) as stream:
                answer = stream.get_final_message()
            conversation.append({"role": "assistant", "content": answer.content})
            calls = [block for block in answer.content if block.type == "tool_use"]
            if not calls:
                break
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": result} for call in calls
            ]
            conversation.append({"role": "user", "content": results})


def use_central_tools(client: anthropic.Anthropic) -> None:
    """Send a request without a tool; print the client's view."""
    asked = (
        "Weather in Berlin, and the dollar? USE_TOOL:bmcp_weather_forecast"
        ' ARGS:{"city": "Berlin"} USE_TOOL:bmcp_money_exchange_rate'
        ' ARGS:{"base": "EUR", "quote": "USD"}'
    )
    with client.messages.stream(
        model=CLAUDE, max_tokens=1024, messages=[{"role": "user", "content": asked}]
    ) as stream:
        answer = stream.get_final_message()
    kinds = ", ".join(block.type for block in answer.content)
    console.print(
        f"  one message, stop_reason {answer.stop_reason}, of blocks: {kinds}", style="dim"
    )
    last = answer.content[-1]
    assert last.type == "text"
    console.print(f"  “{last.text}”", style="dim")


if __name__ == "__main__":
    main()
