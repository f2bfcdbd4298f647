"""Lowers the members that ask for a number of output tokens. Sans-io."""

from collections.abc import Mapping

from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import count, member


def lowered(members: Members, names: tuple[str, ...], most: int) -> Mapping[str, int]:
    """Return those of the named members that are above a limit, with the limit as their value."""
    return {name: most for name in names if (count(member(members, name)) or 0) > most}
