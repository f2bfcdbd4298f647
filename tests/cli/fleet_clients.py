"""Requests to a fleet: raw HTTP, each over a new connection."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.clients import ANTHROPIC_KEY

from cli.command import wait_until

TIMEOUT_S = 60.0
WEATHER = {"name": "get_weather", "input_schema": {"type": "object"}}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, or None as its status if the connection broke before the end."""

    status: int | None
    body: bytes = b""


def ask(
    url: str, token: str, messages: Sequence[Any], *, stream: bool = False, **members: Any
) -> Answer:
    """Send a request to a proxy, and read the response to its end."""
    host, _, port = url.partition(":")
    body = {
        "model": "claude-standin-1",
        "max_tokens": 100,
        "messages": messages,
        "stream": stream,
        **members,
    }
    headers = {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": ANTHROPIC_KEY,
        "x-aibridge-token": token,
    }
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/anthropic/v1/messages", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException):
        return Answer(None)
    finally:
        connection.close()
    if stream and response.status == 200 and b"event: message_stop" not in content:
        return Answer(None)
    return Answer(response.status, content)


def user(text: str) -> dict[str, Any]:
    """Return a message of the user's."""
    return {"role": "user", "content": text}


class Crowd:
    """Clients that ask one after the other, until they are stopped."""

    def __init__(self, url: str, token: str, name: str, clients: int) -> None:
        self.answered: list[str] = []
        """Prompts of the responses whose end a client saw."""
        self.outcomes: Counter[str] = Counter()
        """Number of responses by status; `broken` off, or refused because a budget is `spent`."""
        self._url = url
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

    def _ask(self, client: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            prompt = f"{self._name} client {client} request {number} TOKENS:20,100,0,0"
            answer = ask(self._url, self._token, [user(prompt)], stream=number % 2 == 0)
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
    if answer.status is None:
        return "broken"
    if answer.status == 400:
        return "spent" if b" is spent: " in answer.body else answer.body.decode()
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
