"""Many clients at once, each question unlike all others, so that each can be found in the records.

A question is *seen* when its client has had the last thing that tells of its end: the event that
ends a stream, or the last byte of an answer that does not stream.
"""

import asyncio
import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field

import httpx2

from e2e.bodies import CHAT, MESSAGES, RESPONSES, Api, Tokens
from e2e.clients import WAYS, Clients, Way
from e2e.records import Records

_KINDS = tuple(itertools.product((MESSAGES, CHAT, RESPONSES), (WAYS[0], WAYS[2]), (True, False)))

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Question:
    """A request that asks for token counts that no other asks for."""

    number: int
    api: Api
    way: Way
    stream: bool
    directives: str = ""

    @property
    def text(self) -> str:
        """Text of the user."""
        return f"Question {self.number}. TOKENS:{self.number},7,5,0 {self.directives}".strip()

    @property
    def tokens(self) -> Tokens:
        """Tokens of the response."""
        return (self.number, 7, 5, 0)


def next_question(directives: str = "") -> Question:
    """Return a question; APIs, ways and deliveries take turns."""
    number = next(_numbers)
    return Question(number, *_KINDS[number % len(_KINDS)], directives)


@dataclass(slots=True)
class Load:
    """Requests that were sent and responses that were seen."""

    asked: dict[str, Question] = field(default_factory=dict)
    seen: dict[str, Question] = field(default_factory=dict)
    """By what the user said."""
    problems: list[str] = field(default_factory=list)
    """Answers other than 200."""
    progress: threading.Condition = field(default_factory=threading.Condition)

    def wait_until_seen(self, count: int, timeout_s: float = 30.0) -> None:
        """Wait, in another thread than the clients', until so many answers have been seen.

        Raises:
            TimeoutError: they did not come.
        """
        with self.progress:
            if not self.progress.wait_for(lambda: len(self.seen) >= count, timeout_s):
                raise TimeoutError(f"only {len(self.seen)} of {count} answers; {self.problems}")

    def check(self, records: Records) -> Counter[str]:
        """Assert that what was seen is recorded once and whole, and all else at most once.

        Return how interceptions ended.
        """
        assert self.problems == []
        prompts = Counter(row["prompt"] for row in records.user_prompts)
        assert {said for said, times in prompts.items() if times > 1} == set()
        assert prompts.keys() <= self.asked.keys()
        assert self.seen.keys() - prompts.keys() == set()
        ids = Counter(row["id"] for row in records.interceptions)
        assert set(ids.values()) <= {1}
        rows = {row["id"]: row for row in records.interceptions}
        usages: dict[str, list[Tokens]] = {}
        for row in records.token_usages:
            counts = (
                row["input_tokens"],
                row["output_tokens"],
                row["cache_read_input_tokens"],
                row["cache_write_input_tokens"],
            )
            usages.setdefault(row["interception_id"], []).append(counts)
        for row in records.user_prompts:
            interception = rows[row["interception_id"]]
            assert interception["ended_at"] is not None, row
            question = self.asked[row["prompt"]]
            told = usages.get(interception["id"], [])
            if interception["status"] == "completed":
                assert told == [question.tokens], row
            else:
                assert len(told) <= 1, row
                assert row["prompt"] not in self.seen, (interception, row)
        assert len(rows) == len(records.user_prompts)
        return Counter(row["status"] for row in records.interceptions)


async def ask(load: Load, http: httpx2.AsyncClient, clients: Clients, question: Question) -> None:
    """Ask one question; note that it is asked, and that its end is seen.

    Raises:
        httpx2.TransportError: the proxy has gone.
    """
    with load.progress:
        load.asked[question.text] = question
    api = question.api
    async with http.stream(
        "POST",
        clients.url(question.way, api.provider, api.path),
        content=api.request(question.text, stream=question.stream),
        headers=api.headers,
    ) as response:
        body = b""
        async for chunk in response.aiter_raw():
            body += chunk
            if question.stream and api.end in body:
                _seen(load, question)
    if response.status_code != 200:
        load.problems.append(f"{response.status_code}: {body[:200]!r}")
    elif question.stream and api.end not in body:
        load.problems.append(f"a stream without its end: {body[-200:]!r}")
    else:
        _seen(load, question)


def _seen(load: Load, question: Question) -> None:
    with load.progress:
        load.seen[question.text] = question
        load.progress.notify_all()


async def _ask_on(load: Load, clients: Clients, directives: str, rounds: int | None) -> None:
    async with clients.async_http(WAYS[0]) as forward, clients.async_http(WAYS[2]) as reverse:
        for _ in itertools.count() if rounds is None else range(rounds):
            question = next_question(directives)
            http = forward if question.way.mode == "forward" else reverse
            try:
                await ask(load, http, clients, question)
            except httpx2.TransportError as error:
                if rounds is not None:
                    load.problems.append(repr(error))
                return


def ask_all(clients: Clients, count: int, directives: str = "") -> Load:
    """Ask so many questions at the same time, and wait for all answers."""
    load = Load()

    async def run() -> None:
        await asyncio.gather(*(_ask_on(load, clients, directives, 1) for _ in range(count)))

    asyncio.run(run())
    assert len(load.seen) == count, load.problems
    return load


class Crowd:
    """Clients in a thread of their own that ask one question after another until they cannot."""

    def __init__(self, clients: Clients, size: int, directives: str = "") -> None:
        self.load = Load()
        self._clients = clients
        self._size = size
        self._directives = directives
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self.load

    def __exit__(self, *_: object) -> None:
        self._thread.join(30.0)
        assert not self._thread.is_alive(), "some client still waits"

    def _run(self) -> None:
        async def run() -> None:
            await asyncio.gather(
                *(
                    _ask_on(self.load, self._clients, self._directives, None)
                    for _ in range(self._size)
                )
            )

        asyncio.run(run())
