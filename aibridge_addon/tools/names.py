"""Names of central tools and servers, and the filters for tools and requests. Pure.

A name depends on the set of tools, never on their order, is legal for every wire format, and is
unique: tools with the same plain name all get a hash.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aibridge_addon.patterns import matches_any

PREFIX = "bmcp_"
MAX_NAME = 64
"""Characters of an injected name: the limit of the strictest wire format."""
MAX_SERVER_NAME = 32
"""Characters of a server's name; the rest is for the tool's own name."""
SERVER_NAME = r"^[a-z0-9]+([_-][a-z0-9]+)*$"

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")
_ILLEGAL_IN_SERVER = re.compile(r"[^a-z0-9]+")
_DIGITS = (0, 8, 16, 24)
"""Numbers of hash digits in a name, tried in order until the name is unique."""


def injected_name(server: str, tool: str, digits: int = 0) -> str:
    """Return `bmcp_<server>_<tool>`, made legal.

    It ends in `digits` hash digits; in 8 if it would be illegal without.
    """
    plain = f"{PREFIX}{server}_{tool}"
    legal = len(plain) <= MAX_NAME and tool and not _ILLEGAL.search(plain)
    if legal and not digits:
        return plain
    mark = "_" + _digest(f"{server}\0{tool}", digits or _DIGITS[1])
    stem = _ILLEGAL.sub("_", tool).strip("_") or "tool"
    return f"{PREFIX}{server}_{stem}"[: MAX_NAME - len(mark)].rstrip("_") + mark


def injected_names(tools: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the injected names of all tools of a catalogue, by server name and tool name.

    Tools that would share a name all get a hash, so that the order does not matter.
    """
    return _distinct(tools, lambda tool, digits: injected_name(*tool, digits))


def server_names(written: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return legal and unique names for servers with free-text names; none is in `taken`."""
    written, taken = set(written), set(taken)
    kept = {name for name in written - taken if is_server_name(name)}
    made = _distinct(written - kept, _legal_server_name, taken | kept)
    return {name: name for name in kept} | made


def is_server_name(name: str) -> bool:
    """Return True if a name is a legal server name."""
    return len(name) <= MAX_SERVER_NAME and re.fullmatch(SERVER_NAME, name) is not None


def is_offered(tool_name: str, allow: re.Pattern[str] | None, deny: re.Pattern[str] | None) -> bool:
    """Return True if a tool passes its server's filters, which search its name; deny wins."""
    if deny is not None and deny.search(tool_name):
        return False
    return allow is None or allow.search(tool_name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionFilter:
    """The requests that are offered tools, by names or shell patterns; an empty list allows all."""

    actors: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def allows(
        self, *, actor: str | None, client: str | None, provider: str | None, model: str | None
    ) -> bool:
        """Return True if a request is offered tools; None matches only an empty list."""
        return (
            matches_any(actor, self.actors)
            and matches_any(client, self.clients)
            and matches_any(provider, self.providers)
            and matches_any(model, self.models)
        )


def _distinct[T](
    items: Iterable[T], name: Callable[[T, int], str], taken: Iterable[str] = ()
) -> dict[T, str]:
    names: dict[T, str] = {}
    taken, alike = set(taken), set(items)
    for digits in _DIGITS:
        names |= {item: name(item, digits) for item in alike}
        uses = Counter(names.values())
        alike = {item for item, made in names.items() if uses[made] > 1 or made in taken}
    return names


def _legal_server_name(written: str, digits: int) -> str:
    slug = _ILLEGAL_IN_SERVER.sub("-", written.lower()).strip("-") or "server"
    if len(slug) <= MAX_SERVER_NAME and not digits:
        return slug
    mark = "-" + _digest(written, digits or _DIGITS[1])
    return slug[: MAX_SERVER_NAME - len(mark)].rstrip("-") + mark


def _digest(text: str, digits: int) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:digits]
