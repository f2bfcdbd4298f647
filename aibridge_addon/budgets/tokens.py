"""Estimates the tokens of a request before it is sent, without a tokenizer. Pure."""

import re
from collections import OrderedDict, deque

_BYTES_PER_TOKEN = 3
_BASE64 = re.compile(rb'"(?:data:[^"]*?;base64,)?[A-Za-z0-9+/_=\\-]{1024,}"')
"""Images, documents and encrypted reasoning: their size says nothing about their tokens."""
_TOKENS_OF_BLOB = 2_000
_MOST_CONVERSATIONS = 10_000
_MOST_MODELS = 200
_MOST_OUTPUTS = 200
_LEAST_LIKELY = 1_000
_LIKELY_SHARE = 0.95


def input_tokens(body: bytes) -> int:
    """Estimate the input tokens of a request: texts, tool definitions and arguments, and images."""
    text, blobs = _BASE64.subn(b"", body)
    return len(text) // _BYTES_PER_TOKEN + blobs * _TOKENS_OF_BLOB


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
            self._last[conversation] = tokens
            self._last.move_to_end(conversation)
            if len(self._last) > _MOST_CONVERSATIONS:
                self._last.popitem(last=False)


class OutputEstimates:
    """The outputs of each model's last responses, which tell the likely output of the next."""

    def __init__(self) -> None:
        self._outputs: OrderedDict[str, deque[int]] = OrderedDict()

    def add(self, model: str | None, tokens: int) -> None:
        """Note the output tokens of a response."""
        name = model or ""
        self._outputs.setdefault(name, deque(maxlen=_MOST_OUTPUTS)).append(tokens)
        self._outputs.move_to_end(name)
        if len(self._outputs) > _MOST_MODELS:
            self._outputs.popitem(last=False)

    def likely(self, model: str | None) -> int:
        """Return the 95th percentile of a model's last outputs, and at least 1,000 tokens."""
        outputs = sorted(self._outputs.get(model or "", ()))
        if not outputs:
            return _LEAST_LIKELY
        return max(_LEAST_LIKELY, outputs[min(len(outputs) - 1, int(len(outputs) * _LIKELY_SHARE))])
