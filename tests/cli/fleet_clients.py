"""Clients of proxies with several processes: they send raw HTTP, one request after the other."""

import http.client
import json
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any
from urllib.parse import urlsplit

from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY

from cli.command import wait_until

TIMEOUT_S = 60.0
WEATHER = {"name": "get_weather", "input_schema": {"type": "object"}}
_UPGRADE = """\
GET /openai/v1/realtime?model=gpt-realtime HTTP/1.1
Host: {host}
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Authorization: Bearer {key}
X-Aibridge-Token: {token}

"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, or None as its status if the connection broke before the end."""

    status: int | None
    body: bytes = b""


class Client:
    """A client of a reverse proxy. It may keep its connection, as SDKs do."""

    def __init__(self, url: str, token: str, *, keeps: bool = False) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        self._headers = {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": ANTHROPIC_KEY,
        }
        if token:
            self._headers["x-aibridge-token"] = token
        self._keeps = keeps

    def ask(self, messages: Sequence[Any], *, stream: bool = False, **members: Any) -> Answer:
        """Send a request, and read the response to its end."""
        body = {
            "model": "claude-standin-1",
            "max_tokens": 100,
            "messages": messages,
            "stream": stream,
            **members,
        }
        self._leave_closed_connection()
        try:
            self._connection.request(
                "POST", "/anthropic/v1/messages", json.dumps(body).encode(), self._headers
            )
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Answer(None)
        if not self._keeps:
            self._connection.close()
        if stream and response.status == 200 and b"event: message_stop" not in content:
            return Answer(None)
        return Answer(response.status, content)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _leave_closed_connection(self) -> None:
        connected = self._connection.sock
        if connected and select.select([connected], [], [], 0)[0]:
            self._connection.close()


def ask(url: str, token: str, messages: Sequence[Any], **members: Any) -> Answer:
    """Send a request over a connection of its own."""
    return Client(url, token).ask(messages, **members)


def first_of_websocket(url: str, token: str, expected: bytes) -> bytes:
    """Open a WebSocket to the Realtime API; return what comes until some bytes have come."""
    host = urlsplit(url).netloc
    address, _, port = host.partition(":")
    head = _UPGRADE.format(host=host, key=OPENAI_KEY, token=token).replace("\n", "\r\n")
    with socket.create_connection((address, int(port)), TIMEOUT_S) as client:
        client.sendall(head.encode())
        received = b""
        while expected not in received and (data := client.recv(65536)):
            received += data
    return received


def user(text: str) -> dict[str, Any]:
    """Return a message of the user's."""
    return {"role": "user", "content": text}


class Crowd:
    """Clients that ask without a pause until they are stopped; every other keeps its connection.

    They are divided between the addresses.
    """

    def __init__(self, urls: Sequence[str], token: str, name: str, clients: int) -> None:
        self.answered: list[str] = []
        """Prompts of the responses whose end a client saw."""
        self.outcomes: Counter[str] = Counter()
        """Number of responses by status; `broken` off, or refused because a budget is `spent`."""
        self._urls = urls
        self._token = token
        self._name = name
        self._clients = clients
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask until the context ends."""
        threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(self._clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _ask(self, number: int) -> None:
        place, kind = number % len(self._urls), number // len(self._urls)
        client = Client(self._urls[place], self._token, keeps=kind % 2 == 0)
        with closing(client):
            for request in takewhile(lambda _: not self._over.is_set(), count(1)):
                prompt = f"{self._name} client {number} request {request} TOKENS:20,100,0,0"
                answer = client.ask([user(prompt)], stream=request % 2 == 0)
                if answer.status == 200:
                    self.answered.append(prompt)
                self.outcomes[_outcome(answer)] += 1

    def wait_for_more(self) -> None:
        """Wait until each client has got a few more responses."""
        enough = len(self.answered) + 3 * self._clients
        wait_until(lambda: len(self.answered) >= enough, f"no responses for {self._name}")

    def wait_for(self, *outcomes: str) -> None:
        """Wait until a request had one of some outcomes."""
        wait_until(
            lambda: sum(self.outcomes[each] for each in outcomes),
            f"no request of {self._name} is {outcomes}: {self.outcomes}",
        )


def _outcome(answer: Answer) -> str:
    if answer.status is None or (answer.status == 502 and b"nginx" in answer.body):
        return "broken"
    if answer.status == 400:
        return "spent" if b" is spent" in answer.body else answer.body.decode()
    return str(answer.status)


class Conversation:
    """A conversation in which the model calls a tool of the proxy's and one of the client's."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._messages: list[Any] = [
            user(
                "USE_TOOL:get_weather USE_TOOL:bmcp_calc_add"
                ' ARGS:{"city": "Oslo"} ARGS:{"a": 2, "b": 40} SAY:Moment'
            )
        ]

    def begin(self, url: str) -> None:
        """Ask for the first turn; the response has the client's call only."""
        turn = self._ask(url)
        (call,) = [block for block in turn if block["type"] == "tool_use"]
        assert call["name"] == "get_weather"
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "12 degrees"}
        self._messages += [
            {"role": "assistant", "content": turn},
            {"role": "user", "content": [result]},
        ]

    def go_on(self, url: str) -> None:
        """Send the client's result, to which the proxy adds the result of its own tool."""
        (block,) = self._ask(url)
        assert block["text"] == "The tool returned: 42 | 12 degrees", block

    def _ask(self, url: str) -> list[dict[str, Any]]:
        answer = ask(url, self._token, self._messages, tools=[WEATHER])
        assert answer.status == 200, answer
        content: list[dict[str, Any]] = json.loads(answer.body)["content"]
        return content
