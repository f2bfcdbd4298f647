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

type Location = tuple[str | int, ...]
"""Keys and indices that lead to a value."""
type Tables = Mapping[str, type[pydantic.BaseModel]]
"""The models of a file's tables by the key of the table; the model of the file itself by ''."""


def mistakes_of(error: pydantic.ValidationError, tables: Tables, document: object) -> Iterator[str]:
    """Yield a line for each wrong key of a document."""
    wrong: dict[Location, list[Any]] = {}
    for details in error.errors():
        wrong.setdefault(_location(details, document), []).append(details)
    return (_mistake(location, wrong[location], tables) for location in wrong)


def _location(details: Any, document: object) -> Location:
    """Return the place of an error, without the marks that pydantic adds for parts of a type."""
    found: list[str | int] = []
    for part in details["loc"]:
        if isinstance(document, list):
            document = dict(enumerate(document))
        if isinstance(document, dict) and part in document:
            document = document[part]
            found.append(part)
    if details["type"] == "missing":
        found.append(details["loc"][-1])
    return tuple(found)


def _mistake(location: Location, errors: Sequence[Any], tables: Tables) -> str:
    """Return the line of a key; a value that fits no part of its type has several errors."""
    details = errors[0]
    kind, value = details["type"], details["input"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    key = key.removeprefix(".")
    if kind == "extra_forbidden":
        return f"{key} is not known; {_known_keys(location, tables)}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == UNSHOWN:
        return f"{key} {details['msg']}"
    messages = (
        _plain_message(each["type"], key, value, tables)
        or each["msg"].removeprefix("Value error, ")
        for each in errors
    )
    message = " or ".join(dict.fromkeys(text[0].lower() + text[1:] for text in messages))
    message = message.replace(" or input should be ", " or ")
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
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a table, such as { key = value }"
    if kind == "too_short":
        return "must not be empty"
    return None


def _known_keys(location: Sequence[str | int], tables: Tables) -> str:
    parents = ".".join(part for part in location[:-1] if isinstance(part, str))
    table = tables.get(parents) or tables.get(parents.partition(".")[0], tables[""])
    known = [field.alias or name for name, field in table.model_fields.items()]
    if close := difflib.get_close_matches(str(location[-1]), known, n=1):
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}"
