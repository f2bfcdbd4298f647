"""A row of the table of known hosts. Pure."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

type StreamUsage = Literal["always", "asked", "unknown"]
"""Usage in Chat Completions streams: always, or only with `stream_options.include_usage`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A known host."""

    name: str
    title: str
    type: str = "openai"
    base_url: str
    """URL of OpenAI's formats, or of the provider type."""
    formats: str = "chat"
    """OpenAI's formats that it speaks, for people."""
    hosts: tuple[str, ...] = ()
    """Patterns of its further hosts."""
    anthropic_path: str | None = None
    """Path below which it speaks Anthropic Messages; None if it does not."""
    other_paths: tuple[str, ...] = ()
    """Further paths of OpenAI's formats."""
    api_key_env: str | None = None
    stream_usage: StreamUsage = "unknown"
    seller: str | None = None
    """Its price list; None if it has none."""
    quirks: str = ""
    """Differences in the usage that the readers know, for people."""
    document: str
    """The document that the row follows."""
    is_local: bool = False
    """True for a server that people run themselves."""

    @property
    def host(self) -> str:
        """The host of its URL."""
        return urlsplit(self.base_url).hostname or ""
