"""Claude on Vertex AI as the provider speaks it: Anthropic Messages with the model in the path."""

import re
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from standin import anthropic_messages
from standin.plan import Ask

_PATH = re.compile(
    r"/v1(?:beta1)?/.*publishers/anthropic/models/(?!count-tokens:)([^/:]+):(?:streamR|r)awPredict"
)
COUNT_TOKENS = re.compile(r"/v1(?:beta1)?/.*publishers/anthropic/models/count-tokens:rawPredict")


def api_of(path: str) -> ModuleType | None:
    """Return the API at a path; None if it is not a path of Claude on Vertex AI."""
    found = _PATH.fullmatch(unquote(path))
    return _Claude(found[1]) if found else None


class _Claude(ModuleType):
    """Anthropic Messages at one path, with the members of an API's module."""

    def __init__(self, model: str) -> None:
        super().__init__("vertex_claude")
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(anthropic_messages, name)

    def read(self, body: dict[str, Any], size: int) -> Ask:
        """Read a request."""
        return anthropic_messages.read({**body, "model": self._model}, size)
