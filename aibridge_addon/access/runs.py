"""Marks of `aibridge run`: they identify the requests of one run of a program. Pure.

In forward mode the mark is the user name of the proxy login; in reverse mode it is the first
segment of the path. It authenticates nobody, and never reaches a provider.
"""

import re
import secrets

from aibridge_addon.providers.credentials import login_of

METADATA_KEY = "aibridge_run"
"""The member of an interception's metadata that holds the mark."""

_MARK = re.compile(r"aibridge-run-[0-9a-f]{16}")
_IN_PATH = re.compile(rf"/+({_MARK.pattern})(?=/)")
_FILLER = "run"
"""The password that follows a mark: some programs send no login with an empty password."""


def new_mark() -> str:
    """Return the mark of a new run."""
    return f"aibridge-run-{secrets.token_hex(8)}"


def marked_login(mark: str, access_token: str) -> str:
    """Return the proxy login of a run, with its access token if it has one."""
    return f"{mark}:{access_token or _FILLER}"


def mark_of_login(value: str) -> str | None:
    """Return the mark in the value of `Proxy-Authorization`."""
    login = login_of(value)
    return login[0] if login and _MARK.fullmatch(login[0]) else None


def split_path(path: str) -> tuple[str | None, str]:
    """Return the mark at the start of a path, and the path without it."""
    found = _IN_PATH.match(path)
    return (found[1], path[found.end() :]) if found else (None, path)
