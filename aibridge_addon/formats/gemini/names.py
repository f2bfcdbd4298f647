"""Reads members by name in both spellings that Google's APIs accept. Pure.

Protocol buffers in JSON have camel case (`functionCall`), and are accepted in snake case as well
(`function_call`); clients mix both in one body.
"""

import re
from functools import lru_cache

import msgspec

from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, mapping, read

_CAPITAL = re.compile(r"(?=[A-Z])")


@lru_cache(maxsize=256)
def snake(name: str) -> str:
    """Return a name in snake case, given in camel case."""
    return _CAPITAL.sub("_", name).lower()


def named(given: JSON, name: str) -> JSON:
    """Return a member of an object, given its name in camel case; None if it is missing."""
    members = mapping(given)
    return members[name] if name in members else members.get(snake(name))


def spelling(given: dict[str, JSON] | Members, name: str) -> str:
    """Return the spelling of a name that an object uses; camel case if it has no such member."""
    return snake(name) if name not in given and snake(name) in given else name


def raw_named(members: Members, name: str) -> msgspec.Raw | None:
    """Return an undecoded member, given its name in camel case; None if it is missing."""
    return members.get(spelling(members, name))


def member_named(members: Members, name: str) -> JSON:
    """Decode a member, given its name in camel case; None if it is missing or broken."""
    raw = raw_named(members, name)
    return None if raw is None else read(raw)
