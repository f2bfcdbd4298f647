"""Estimates the tokens of a request before it is sent, without a tokenizer. Pure."""

import re
from bisect import bisect_left, insort
from collections import OrderedDict, deque

from aibridge_addon.facts import Interception

_BYTES_PER_TOKEN = 3
_BASE64 = re.compile(rb'"(?:data:[^"]*?;base64,)?[A-Za-z0-9+/_=\\-]{1024,}"')
"""Images, documents and encrypted reasoning: their size says nothing about their tokens."""
_PART = 512
_WITHOUT_BLOB = re.compile(rb"(?s:(?![A-Za-z0-9+/_=\\-]{512}).{512})*+")
"""Ends in front of a part of a blob. Parts are looked at one after the other, and of those without
a blob, few bytes are read."""
TOKENS_OF_BLOB = 2_000
MOST_CONVERSATIONS = 10_000
_MOST_MODELS = 200
_MOST_OUTPUTS = 200
_LEAST_LIKELY = 1_000
_LIKELY_SHARE = 0.95


class _InputTokens:
    """Estimates of the input tokens of bodies; limits and budgets ask for the same in turn."""

    def __init__(self) -> None:
        self._last = b"", 0

    def __call__(self, body: bytes) -> int:
        if self._last[0] is not body:
            self._last = body, _input_tokens(body)
        return self._last[1]


input_tokens = _InputTokens()
"""Estimates the input tokens of a request: texts, tool definitions and arguments, and images."""


def _input_tokens(body: bytes) -> int:
    looked_at = _WITHOUT_BLOB.match(body)
    if looked_at is None or len(body) - looked_at.end() < _PART:
        return len(body) // _BYTES_PER_TOKEN
    text, blobs = _BASE64.subn(b"", body)
    return len(text) // _BYTES_PER_TOKEN + blobs * TOKENS_OF_BLOB


def conversation_of(interception: Interception) -> str | None:
    """Return the id of a conversation: the client's session, and the sub-agent in it."""
    if interception.client_session_id is None:
        return None
    return f"{interception.client_session_id}/{interception.agent_id or ''}"


def remember[T](values: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    """Store a value as the newest, and forget the oldest of more than `most`."""
    values[key] = value
    values.move_to_end(key)
    if len(values) > most:
        values.popitem(last=False)


class InputEstimates:
    """The inputs of running conversations: a repeated history is read from the provider's cache."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def uncached(self, conversation: str | None, tokens: int) -> int:
        """Return how many input tokens of a request its conversation has not sent before."""
        last = self._last.get(conversation, 0) if conversation else 0
        return tokens - last if last <= tokens else tokens

    def add(self, conversation: str | None, tokens: int) -> None:
        """Note the estimated input tokens of a request."""
        if conversation:
            remember(self._last, conversation, tokens, MOST_CONVERSATIONS)


class _Outputs:
    """The output tokens of the last responses of a model."""

    __slots__ = ("_by_age", "_by_size")

    def __init__(self) -> None:
        self._by_age: deque[int] = deque()
        self._by_size: list[int] = []

    def add(self, tokens: int) -> None:
        if len(self._by_age) == _MOST_OUTPUTS:
            del self._by_size[bisect_left(self._by_size, self._by_age.popleft())]
        self._by_age.append(tokens)
        insort(self._by_size, tokens)

    def likely(self) -> int:
        most = len(self._by_size) - 1
        return self._by_size[min(most, int(len(self._by_size) * _LIKELY_SHARE))]


class OutputEstimates:
    """The outputs of each model's last responses, which tell the likely output of the next."""

    def __init__(self) -> None:
        self._outputs: OrderedDict[str, _Outputs] = OrderedDict()

    def add(self, model: str | None, tokens: int) -> None:
        """Note the output tokens of a response."""
        name = model or ""
        outputs = self._outputs.get(name) or _Outputs()
        outputs.add(tokens)
        remember(self._outputs, name, outputs, _MOST_MODELS)

    def likely(self, model: str | None) -> int:
        """Return the 95th percentile of a model's last outputs, and at least 1,000 tokens."""
        outputs = self._outputs.get(model or "")
        return max(_LEAST_LIKELY, outputs.likely()) if outputs else _LEAST_LIKELY
