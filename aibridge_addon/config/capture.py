"""Words of the option `aibridge_capture`: the contents that are recorded. Pure."""

from collections.abc import Collection

from aibridge_addon.config.option_values import quoted, split_list

CAPTURABLE = ("prompts", "tools", "thoughts", "answers", "results", "system", "requests")
"""Contents that can be recorded, one by one."""
AUTO, ALL = "auto", "all"
EVERYTHING = "everything that is said"
"""Description of `all`, for people."""
OF_SHARED_PROXY = frozenset({"prompts", "tools", "thoughts"})
"""Contents that `auto` stands for at a proxy of several people."""


def read_capture(value: str) -> frozenset[str]:
    """Read the contents to record; `auto` stays for `resolve_capture`.

    Raises:
        ValueError: an entry is unknown, or `auto` is not alone.
    """
    names = frozenset(split_list(value))
    if unknown := sorted(names - {*CAPTURABLE, AUTO, ALL}):
        allowed = ", ".join((*CAPTURABLE, ALL))
        raise ValueError(f"has {quoted(unknown)}; it may list {allowed}, or be {AUTO}")
    if AUTO in names and len(names) > 1:
        raise ValueError(f"lists {AUTO} beside other words; {AUTO} must be alone")
    return frozenset(CAPTURABLE) if ALL in names else names


def resolve_capture(names: Collection[str], *, is_private: bool) -> frozenset[str]:
    """Return the contents to record at a proxy that only its own machine can use, or at others."""
    if AUTO not in names:
        return frozenset(names)
    return frozenset(CAPTURABLE) if is_private else OF_SHARED_PROXY


def describe_capture(names: Collection[str], *, is_private: bool) -> str:
    """Return what is recorded, and how to record less, for people."""
    contents = resolve_capture(names, is_private=is_private)
    less = "--set aibridge_capture="
    if contents >= set(CAPTURABLE):
        return f"{EVERYTHING} (to record less: {less}prompts,tools,thoughts)"
    if not contents:
        return "token counts only"
    return (
        f"{', '.join(name for name in CAPTURABLE if name in contents)} (to record nothing: {less})"
    )
