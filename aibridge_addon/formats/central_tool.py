"""What a central tool is and what a call of it gives. Pure data, of no protocol in particular."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CentralTool:
    """A tool of an MCP server, as it is offered to models."""

    name: str
    """The injected name: `bmcp_<server>_<tool>`, legal for every API, unique."""
    server: str
    """The server's name in the configuration."""
    server_url: str
    """Where the server is: a URL, or `stdio:` and the command; never with a secret."""
    original_name: str
    """What the server itself calls it."""
    description: str
    input_schema: Mapping[str, Any]
    """The whole JSON schema, `$defs` and all, as every API takes it."""
    original_names: Mapping[str, str] = field(default_factory=dict)
    """The server's property names by those of the schema, where they differ."""
    has_output_schema: bool = False
    """Whether the server promises structured content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPart:
    """One part of a result."""

    kind: Literal["text", "image", "other"]
    text: str = ""
    """For `text`; for `other`, what is to be said in its place, such as JSON."""
    data: str = ""
    """For `image`: base64."""
    media_type: str = ""
    """For `image`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call gave: parts, in order, never empty; an error too is told in parts."""

    parts: tuple[ResultPart, ...]
    is_error: bool = False

    @property
    def as_text(self) -> str:
        """All of it as one text; of what is no text, what it is."""
        return "\n".join(
            f"[{part.media_type} image, {len(part.data)} characters of base64]"
            if part.kind == "image"
            else part.text
            for part in self.parts
        )


def error_result(message: str) -> ToolResult:
    """Return a result that tells the model of an error."""
    return ToolResult(parts=(ResultPart(kind="text", text=message),), is_error=True)
