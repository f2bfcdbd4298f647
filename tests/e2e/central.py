"""Central tools end to end: real MCP servers, the client's view, and the upstream requests.

`Central` sends requests through a proxy that offers tools. Each upstream request of a test must be
legal, which is checked at its end.
"""

import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import forked
import httpx2
from forked import MCP_SERVER, start_mcp_server
from standin import (
    Exchange,
    Provider,
    Request,
    Response,
    Server,
    anthropic_messages,
    openai_chat,
    openai_responses,
)
from standin.codings import decode

from e2e.asking import API, Answer
from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY, WAYS, Clients, Way
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.wire_formats import JSON, READERS, Story, data_of, reader_of

WAIT_S = 60.0

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS

ADD = "bmcp_calc_add"
"""The tool that most tests call."""
SUM = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment'
"""Makes the model write a word, and call it."""
SUM_LINE = f'calls {ADD} {{"a":2,"b":40}}'


# --- MCP servers


class ToolServer:
    """`tests/mcp_server.py` as a separate process, over HTTP or SSE."""

    def __init__(self, transport: Literal["http", "sse"], *arguments: str) -> None:
        self._process = start_mcp_server(transport, *arguments)

    @cached_property
    def url(self) -> str:
        """The URL, once the server is up."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], WAIT_S)
        assert ready, "the MCP server did not come up"
        where: dict[str, str] = json.loads(self._process.stdout.readline())
        return where["url"]

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


def program(*, fork: bool = True) -> dict[str, Any]:
    """Return the keys of a server that the proxy runs itself.

    `fork=False` has it start an interpreter, for tests of the process itself.
    """
    words = forked.command(MCP_SERVER) if fork else [sys.executable, str(MCP_SERVER)]
    return {"command": words[0], "args": [*words[1:], "stdio"]}


def wait_for_servers(proxy: Proxy, *names: str, mark: int = 0) -> None:
    """Wait until servers are up."""
    for name in names:
        proxy.wait_for_log(f"MCP server {name} is up", mark, WAIT_S)


class Report:
    """A call of the tool `slow`: receives its reports, and lets it return."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path, self._until = directory / "report", directory / "until"
        os.mkfifo(self._path)
        self._pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._said = ""

    @property
    def arguments(self) -> str:
        """The arguments of the call, as JSON."""
        return json.dumps({"report": str(self._path), "until": str(self._until)})

    def wait_for(self, word: str) -> None:
        """Wait until it reports that it has started, finished or been cancelled."""
        while word not in self._said.split():
            ready, _, _ = select.select([self._pipe], [], [], WAIT_S)
            assert ready, f"not {word}; its reports: {self._said!r}"
            self._said += os.read(self._pipe, 4096).decode()

    @property
    def lines(self) -> list[str]:
        """The reports so far."""
        return self._said.split()

    def release(self) -> None:
        """Let it return."""
        self._until.touch()

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)


# --- asking


@dataclass(frozen=True, slots=True)
class Seen:
    """A response as a bare client sees it."""

    status: int
    headers: httpx2.Headers
    raw: bytes
    whole: bool
    """True if the response is complete."""

    @property
    def json(self) -> Any:
        """The body of a buffered response."""
        return json.loads(decode(self.raw, self.headers.get("content-encoding")))


class Central:
    """Sends requests through a proxy that offers central tools."""

    def __init__(self, proxy: Proxy, clients: Clients, provider: Provider, standin: Server) -> None:
        self.proxy = proxy
        self.clients = clients
        self.provider = provider
        self.standin = standin
        self._start = len(standin.requests)

    @property
    def requests(self) -> list[Request]:
        """The requests that the provider received in this test."""
        return self.standin.requests[self._start :]

    @property
    def received(self) -> list[JSON]:
        """The bodies that the provider received in this test."""
        return [json.loads(request.body) for request in self.requests if request.body]

    def transcripts(self, api: API) -> list[list[str]]:
        """The conversations that the provider received in this test; asserts that each is legal."""
        return [reader_of(api).transcript(body) for body in self.received]

    def check(self) -> None:
        """Assert that a provider would accept all requests of the test."""
        for request in self.requests:
            for name, reader in _BY_PATH.items():
                if request.path == name and request.method == "POST":
                    reader.transcript(json.loads(request.body))

    def ask(self, api: API, way: Way, prompt: str | list[Any], **options: Any) -> Answer:
        """Send a request with the SDK."""
        return api.ask(self.clients, way, prompt, **options)

    def see(self, api: API, way: Way, prompt: str | list[Any], **options: Any) -> Story:
        """Send a request with a bare client; return its view of a complete and legal response."""
        seen = self.post(api, way, prompt, **options)
        assert seen.whole
        assert seen.status == 200, seen.raw
        reader = reader_of(api)
        if options.get("stream"):
            return reader.streamed_story(seen.raw)
        return reader.story(seen.json)

    def post(self, api: API, way: Way, prompt: str | list[Any], **options: Any) -> Seen:
        """Send a request with a bare client; return any response."""
        with self.asking(api, way, prompt, **options) as response:
            got = bytearray()
            whole = True
            try:
                for chunk in response.iter_raw():
                    got += chunk
            except httpx2.TransportError:
                whole = False
            return Seen(response.status_code, response.headers, bytes(got), whole)

    @contextmanager
    def asking(
        self,
        api: API,
        way: Way,
        prompt: str | list[Any],
        *,
        stream: bool = False,
        tools: Sequence[str] = (),
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> Iterator[httpx2.Response]:
        """Send a request with a bare client; yield the arriving response, then disconnect."""
        body = {**api.body(prompt, stream=stream, tools=tools), **(members or {})}
        url = self.clients.url(way, api.provider, path or api.path)
        with (
            self.clients.http(way) as client,
            client.stream(
                "POST", url, json=body, headers={**key_headers(api), **(headers or {})}
            ) as response,
        ):
            yield response

    def recorded(self, condition: Callable[[Records], object], after: str) -> Records:
        """Wait for the records of a response whose end no client has received."""
        return self.proxy.wait_for_records(condition, after=after)


_MODULES: dict[str, ModuleType] = {
    "anthropic_messages": anthropic_messages,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
}
_BY_PATH = {
    "/v1/messages": READERS["anthropic_messages"],
    "/v1/chat/completions": READERS["openai_chat"],
    "/v1/responses": READERS["openai_responses"],
}


def key_headers(api: API, key: str | None = None) -> dict[str, str]:
    """Return the headers that a bare client of a wire format sends."""
    if api.provider == "anthropic":
        return {"x-api-key": key or ANTHROPIC_KEY, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key or OPENAI_KEY}"}


def scripted_bytes(api: API, request: Request, *, stream: bool) -> bytes:
    """Return the scripted responses of the stand-in."""
    exchange: Exchange = request.notes
    module = _MODULES[api.name]
    render = module.render_stream if stream else module.render_body
    return b"".join(render(exchange.plan).numbered(int(exchange.response_id)))


def assert_untouched(
    central: Central,
    api: API,
    way: Way,
    stream: bool,
    members: JSON,
    headers: dict[str, str] | None = None,
) -> None:
    """Assert that a request and its response are relayed unchanged."""
    body = json.dumps(api.body("hi THINK", stream=stream) | members, indent=1).encode()
    sent = {**key_headers(api), **(headers or {}), "accept-encoding": "br;q=0.5"}
    url = central.clients.url(way, api.provider, api.path)
    with (
        central.clients.http(way) as client,
        client.stream("POST", url, content=body, headers=sent) as response,
    ):
        raw = b"".join(response.iter_raw())
    [request] = central.requests
    assert request.body == body
    assert request.header("accept-encoding") == "br;q=0.5"
    assert raw == scripted_bytes(api, request, stream=stream)


# --- answers that no script makes


type Change = Callable[[list[JSON]], list[JSON]]
"""Changes the events of a stream without `[DONE]`, or a buffered response as the only event."""


def reworked(
    provider: Provider, change: Change, *, request: Callable[[JSON], JSON] = lambda body: body
) -> Callable[[Request], Any]:
    """Return a canned answer: what the script says, changed.

    `request` changes what the script sees of the request.
    """

    async def answer(asked: Request) -> Any:
        headers = [pair for pair in asked.headers if pair[0].lower() != "x-standin-canned"]
        body = json.dumps(request(json.loads(asked.body))).encode()
        response = await provider(replace(asked, headers=headers, body=body))
        assert isinstance(response, Response)
        if isinstance(response.body, bytes):
            [whole] = change([json.loads(response.body)])
            response.body = json.dumps(whole).encode()
        else:
            response.body = _rework(b"".join(response.body), change)  # type: ignore[arg-type]
        return response

    return answer


def _rework(stream: bytes, change: Change) -> list[bytes]:
    *data, last = data_of(stream)
    done = last == "[DONE]"
    events = change([json.loads(event) for event in (data if done else [*data, last])])
    return [*map(_event, events), *([b"data: [DONE]\n\n"] if done else [])]


def _event(event: JSON) -> bytes:
    head = f"event: {event['type']}\n" if "type" in event else ""
    return f"{head}data: {json.dumps(event)}\n\n".encode()


def each_object(value: Any) -> Iterator[JSON]:
    """Yield every object within a value, outer ones first."""
    if isinstance(value, dict):
        yield value
    for member in value.values() if isinstance(value, dict) else value:
        if isinstance(member, dict | list):
            yield from each_object(member)
