"""Demonstrates the addon on this machine alone, without a key or an account.

A real `mitmdump` with the addon, a stand-in for the providers, two real MCP servers whose tools
every client gets, and the real anthropic and openai SDKs, through the forward proxy (TLS, a
throw-away CA) and through the reverse proxy. At the end it prints the record and what was spent,
and on a terminal serves the web page until Enter. Everything lives in a temporary folder.
"""

import contextlib
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
from rich import box
from rich.console import Console
from rich.table import Table

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import usd
from aibridge_addon.report.numbers import bar, percent, short_count
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.store import open_store
from aibridge_addon.web.app import make_app
from aibridge_addon.web.links import SECRET_BYTES, make_key
from aibridge_addon.web.server import WebServer
from aibridge_addon.web.site import make_site

ROOT = Path(__file__).resolve().parents[1]
ADDON = ROOT / "aibridge_addon" / "__init__.py"
TOOLS = ROOT / "scripts" / "demo_tools.py"
BIN = Path(sys.executable).parent
START_SECONDS = 30
CLAUDE, GPT = "claude-opus-4-8", "gpt-5.2"
console = Console(highlight=False)

CONFIG = """\
[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "{origin}"
hosts = ["api.anthropic.com"]
price_as = "anthropic"

[[providers]]
name = "openai"
type = "openai"
base_url = "{origin}/v1"
hosts = ["api.openai.com"]
price_as = "openai"

[[providers]]
name = "gemini"
type = "gemini"
base_url = "{origin}"
hosts = ["generativelanguage.googleapis.com"]
price_as = "google"

[[mcp_servers]]
name = "weather"
url = "{weather}"
allow = "^forecast$"

[[mcp_servers]]
name = "money"
command = "{python}"
args = ["{tools}", "stdio"]
allow = "^exchange_rate$"
"""

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
        step("A stand-in provider speaks the formats of Anthropic and OpenAI, over TLS")
        provider = stack.enter_context(stand_in(folder))
        step("Two MCP servers have a tool each, over HTTP and over stdio")
        weather = stack.enter_context(mcp_server(folder))
        step("mitmdump, with the addon, is a forward and a reverse proxy at once")
        forward, reverse = stack.enter_context(proxy(folder, provider, weather))
        use_all(folder, forward, reverse)
        console.print("\nThis is what the database holds now:\n")
        show(folder / "aibridge.sqlite3")
        show_spent(open_store(str(folder / "aibridge.sqlite3")).reports())
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
    step("Gemini answers through the forward proxy, and makes a vector, which is no prompt")
    with http_client(forward, folder) as http:
        use_gemini(http)
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


@contextlib.contextmanager
def process(
    command: Sequence[str | Path], folder: Path, **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program while the block runs; its log goes to a file with its name."""
    name = Path(command[0]).name
    with (folder / f"{name}.log").open("w") as log:
        running = subprocess.Popen(command, stderr=log, **options)
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


@contextlib.contextmanager
def stand_in(folder: Path) -> Iterator[dict[str, str]]:
    """Run the stand-in; yield its `origin` and the path of its `ca`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    command: list[str | Path] = [sys.executable, "-m", "standin", "--tls", "--ca-dir", folder]
    with process(command, folder, stdout=subprocess.PIPE, env=environment) as running:
        assert running.stdout
        yield json.loads(running.stdout.readline())


@contextlib.contextmanager
def mcp_server(folder: Path) -> Iterator[str]:
    """Run the MCP server over HTTP; yield its URL."""
    with process([sys.executable, TOOLS, "http"], folder, stdout=subprocess.PIPE) as running:
        assert running.stdout
        yield running.stdout.readline().decode().strip()


@contextlib.contextmanager
def proxy(folder: Path, provider: dict[str, str], weather: str) -> Iterator[tuple[str, str]]:
    """Run mitmdump with the addon; yield the URLs of the forward and of the reverse proxy."""
    config, python = folder / "aibridge.toml", os.path.relpath(sys.executable, ROOT)
    config.write_text(
        CONFIG.format(**provider, weather=weather, python=python, tools=TOOLS.relative_to(ROOT))
    )
    forward, reverse = free_port(), free_port()
    options = {
        "confdir": folder / "mitmproxy",
        "ssl_verify_upstream_trusted_ca": provider["ca"],
        "aibridge_config": config,
        "aibridge_db": folder / "aibridge.sqlite3",
        "aibridge_capture": "all",
    }
    command: list[str | Path] = [
        *(BIN / "mitmdump", "-s", ADDON),
        *("--mode", f"regular@127.0.0.1:{forward}"),
        *("--mode", f"reverse:https://api.anthropic.com@127.0.0.1:{reverse}"),
        *(word for name, value in options.items() for word in ("--set", f"{name}={value}")),
    ]
    console.print("  " + " ".join(str(word) for word in command[1:7]) + " …", style="dim")
    log = (folder / "mitmdump.out").open("w")
    with log, process(command, folder, stdout=log, cwd=ROOT) as running:
        for port in (forward, reverse):
            wait_for(port, running, folder)
        yield f"http://127.0.0.1:{forward}", f"http://127.0.0.1:{reverse}"


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, running: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Wait until a port accepts connections; exit with the log otherwise."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and running.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    logs = "\n".join(file.read_text() for file in sorted(folder.glob("mitmdump.*")))
    sys.exit(f"mitmdump did not start. Its log:\n{logs}")


def http_client(forward: str, folder: Path) -> httpx2.Client:
    """Return the client options that HTTPS_PROXY and SSL_CERT_FILE would set."""
    trusting = ssl.create_default_context(cafile=folder / "mitmproxy" / "mitmproxy-ca-cert.pem")
    alice = {"X-AIBridge-Actor": "alice"}
    return httpx2.Client(proxy=forward, verify=trusting, headers=alice)


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
    client.responses.create(model=GPT, input="Hello by Responses.")
    with client.responses.stream(model=GPT, input="Why is the sky blue? THINK") as stream:
        stream.get_final_response()


def use_gemini(http: httpx2.Client) -> None:
    """Ask for a text and for a vector, as programs with an API key of Google do."""
    models = "https://generativelanguage.googleapis.com/v1beta/models"
    key = {"x-goog-api-key": "AIza-demo-dave-0006"}
    asked = "Name a colour. TOKENS:120,30,0,0"
    content = {"role": "user", "parts": [{"text": asked}]}
    for path, body in (
        ("gemini-2.5-flash:generateContent", {"contents": [content]}),
        ("gemini-embedding-001:embedContent", {"content": content}),
    ):
        http.post(f"{models}/{path}", json=body, headers=key).raise_for_status()


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


def show(database: Path) -> None:
    """Print the record."""
    connection = sqlite3.connect(database)
    for title, columns, query in TABLES:
        console.print(title, style="bold")
        table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for column in table.columns:
            if column.header in NUMBERS:
                column.justify = "right"
        for row in connection.execute(query):
            table.add_row(*("" if value is None else str(value) for value in row))
        console.print(table)
    connection.close()


def show_spent(reports: Reports) -> None:
    """Print a picture of the money and the tokens, by actor and model."""
    totals = reports.totals(TotalsQuery(by=("actor", "model")))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("who", "model", "", "money", "tokens in", "out", "cache"):
        table.add_column(name, justify="left" if name in ("who", "model", "") else "right")
    largest = max((row.figures.cost_nano_usd or 0 for row in totals.rows), default=0)
    for row in totals.rows:
        figures = row.figures
        line = bar(figures.cost_nano_usd or 0, largest, BAR_WIDTH)
        table.add_row(*map(str, row.names), f"[cyan]{line}[/cyan]", *spent_cells(figures))
    table.add_section()
    table.add_row("all", "", "", *spent_cells(totals.overall), style="bold")
    console.print("What was spent (list prices; the demo costs nothing)", style="bold")
    console.print(table)
    if totals.overall.unpriced:
        console.print("+n: requests whose price is not known\n", style="dim")


def spent_cells(figures: Figures) -> tuple[str, ...]:
    """Return money and tokens as text; unknown money is a dash."""
    more = f" +{figures.unpriced}" if figures.unpriced else ""
    return (
        f"{usd(figures.cost_nano_usd)}{more}",
        short_count(figures.total_input),
        short_count(figures.output),
        percent(figures.cache_hit_rate),
    )


@contextlib.contextmanager
def page(database: Path) -> Iterator[str]:
    """Serve the web page; yield a link that signs in."""
    secret = os.urandom(SECRET_BYTES)
    store = open_store(str(database))
    site = make_site(store.reports(), store, secret=secret, inspect=store.inspect)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WebServer(make_app(site), listener)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/link?key={make_key(secret)}"
        server.close()


BAR_WIDTH = 16
NUMBERS = {"requests", "input", "cached", "output"}
TABLES = (
    (
        "Requests (aibridge_interceptions, aibridge_token_usages)",
        ("who", "API", "stream", "input", "cached", "output", "key", "status"),
        """SELECT initiator_id, substr(api, instr(api, '_') + 1), iif(streaming, 'yes', 'no'),
                  input_tokens, cache_read_input_tokens, output_tokens, credential_hint, status
           FROM aibridge_interceptions i
           LEFT JOIN aibridge_token_usages u ON u.interception_id = i.id
           ORDER BY i.id""",
    ),
    (
        "What people said (aibridge_user_prompts)",
        ("who", "prompt"),
        """SELECT initiator_id, prompt FROM aibridge_user_prompts p
           JOIN aibridge_interceptions i ON i.id = p.interception_id
           GROUP BY initiator_id, prompt ORDER BY min(p.id)""",
    ),
    (
        "Tool calls that models selected (aibridge_tool_usages)",
        ("who", "tool", "input", "run by"),
        """SELECT initiator_id, tool, input,
                  iif(injected, 'MCP server ' || json_extract(t.metadata, '$.server'), 'client')
           FROM aibridge_tool_usages t
           JOIN aibridge_interceptions i ON i.id = t.interception_id ORDER BY t.id""",
    ),
)


if __name__ == "__main__":
    main()
