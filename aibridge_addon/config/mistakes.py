"""Errors of options and config files."""


class SettingsError(ValueError):
    """Options or config file are wrong; the message has a line for each mistake."""


_NAME = "use lower-case letters and digits, with single dashes between, such as my-provider"
_TABLES = ("providers", "actors", "mcp_servers")


def in_words(kind: str, key: str, value: object) -> str | None:
    """Return what is wrong with the value of a key, where pydantic's words would be a riddle."""
    if kind == "string_pattern_mismatch":
        return _NAME
    if kind == "list_type" and key in _TABLES and isinstance(value, dict):
        return f"this is one table; write [[{key}]] in place of [{key}]"
    if kind in ("model_type", "model_attributes_type") and isinstance(value, list):
        return f"this is a list of tables; write [{key}] in place of [[{key}]]"
    return None
