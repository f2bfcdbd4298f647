"""Turns pydantic's errors into mistakes that name the key, what is wrong and what would be right.

Values of keys that may hold a secret are never repeated.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic_core import PydanticCustomError

from aibridge_addon.config.doubts import looks_like_secret

UNSHOWN = "unshown"
"""Type of a custom error whose value may be a secret, so that the message leaves it out."""
SECRET_KEYS = frozenset({"url", "headers", "command", "args", "env"})
"""Keys of MCP servers whose values may hold a secret even as they are written."""

_NAME = "use lower-case letters and digits, with single dashes between, such as my-provider"

TABLE = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)
"""For models of our own tables: unknown keys and values of another type are mistakes."""


def _check_variable(value: str) -> str:
    if looks_like_secret(value) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise PydanticCustomError(
            UNSHOWN, "must be the name of an environment variable that holds the key"
        )
    return value


type VariableName = Annotated[
    str, pydantic.StringConstraints(min_length=1), pydantic.AfterValidator(_check_variable)
]
"""Name of an environment variable with a secret; a secret in its place is not repeated."""

type Tables = Mapping[str, type[pydantic.BaseModel]]
"""The models of a file's tables by the key of the table; the model of the file itself by ''."""


def mistakes_of(error: pydantic.ValidationError, tables: Tables) -> Iterator[str]:
    """Yield a line for each error of a validation."""
    return (_mistake(details, tables) for details in error.errors())


def _mistake(details: Any, tables: Tables) -> str:
    kind, location, value = details["type"], details["loc"], details["input"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    key = key.removeprefix(".")
    if kind == "extra_forbidden":
        return f"{key} is not known; {_known_keys(location, tables)}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == UNSHOWN:
        return f"{key} {details['msg']}"
    message = _plain_message(kind, key, value, tables) or details["msg"].removeprefix(
        "Value error, "
    )
    message = message[0].lower() + message[1:]
    if SECRET_KEYS & set(location) or isinstance(value, dict | list):
        return f"{key}: {message}"
    return f"{key} is {value!r}: {message}"


def _plain_message(kind: str, key: str, value: object, tables: Tables) -> str | None:
    """Return the message for errors that pydantic does not describe in the terms of TOML."""
    if kind == "string_pattern_mismatch":
        return _NAME
    if kind == "list_type" and key in tables and isinstance(value, dict):
        return f"this is one table; write [[{key}]] in place of [{key}]"
    if kind in ("model_type", "model_attributes_type") and isinstance(value, list):
        return f"this is a list of tables; write [{key}] in place of [[{key}]]"
    return None


def _known_keys(location: Sequence[str | int], tables: Tables) -> str:
    parents = ".".join(part for part in location[:-1] if isinstance(part, str))
    table = tables.get(parents) or tables.get(parents.partition(".")[0], tables[""])
    known = [field.alias or name for name, field in table.model_fields.items()]
    if close := difflib.get_close_matches(str(location[-1]), known, n=1):
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}"
