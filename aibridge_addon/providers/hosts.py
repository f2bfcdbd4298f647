"""Host names of provider instances: comparison, and patterns with `*`. Pure.

A pattern matches a whole name, label by label from its end, so that a name which only contains a
provider's name does not match.
"""

import re
from collections.abc import Iterable

_WILDCARD = "*"
_LABEL = re.compile(r"[a-z0-9_-]*\*?[a-z0-9_-]*")
_FIXED_LABELS = 2
"""Labels at the end of a pattern that must have no `*`."""


class HostTable[T]:
    """Values by exact host or by pattern."""

    def __init__(self, rows: Iterable[tuple[str, T]]) -> None:
        hosts = {bare_host(host): value for host, value in rows}
        self._exact = {host: value for host, value in hosts.items() if not is_pattern(host)}
        patterns = sorted(filter(is_pattern, hosts), key=_specificity, reverse=True)
        self._patterns = [(_compiled(pattern), hosts[pattern]) for pattern in patterns]

    def __contains__(self, host: str) -> bool:
        return self.exact(host) is not None or self.by_pattern(host) is not None

    def exact(self, host: str) -> T | None:
        """Return the value of an exact host."""
        return self._exact.get(bare_host(host))

    def by_pattern(self, host: str) -> T | None:
        """Return the value of the most specific pattern that matches a host."""
        name = bare_host(host)
        return next((value for regex, value in self._patterns if regex.fullmatch(name)), None)


def bare_host(host: str) -> str:
    """Return a host for comparison: in lower case, without the final dot of a full name."""
    return host.lower().removesuffix(".")


def is_pattern(host: str) -> bool:
    """Return True if a configured host is a pattern."""
    return _WILDCARD in host


def mistake_in_pattern(pattern: str) -> str | None:
    """Return the reason why a pattern is not allowed; None if it is."""
    labels = pattern.split(".")
    if any(is_pattern(label) for label in labels[-_FIXED_LABELS:]) or len(labels) <= _FIXED_LABELS:
        return "must end in two labels without *, such as *.example.com"
    if not all(label and _LABEL.fullmatch(label) for label in labels):
        return "must be a host name with at most one * in each label, such as *.example.com"
    return None


def matches_host(pattern: str, host: str) -> bool:
    """Return True if a host is this one, or matches this pattern."""
    if not is_pattern(pattern):
        return bare_host(pattern) == bare_host(host)
    return _compiled(bare_host(pattern)).fullmatch(bare_host(host)) is not None


def may_be_below(pattern: str, domain: str) -> bool:
    """Return True if a host, or some host that matches a pattern, is a domain or is below it."""
    own, asked = _from_end(pattern), _from_end(domain)
    if own[-1] == _WILDCARD:
        asked = asked[: len(own)]
    return len(own) >= len(asked) and all(
        re.fullmatch(_regex(label), part) for label, part in zip(own, asked, strict=False)
    )


def _from_end(host: str) -> list[str]:
    return bare_host(host).split(".")[::-1]


def _specificity(pattern: str) -> tuple[int, int, str]:
    return pattern.count("."), len(pattern), pattern


def _compiled(pattern: str) -> re.Pattern[str]:
    first, *others = pattern.split(".")
    # A first label that is only `*` stands for several labels too.
    start = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*" if first == _WILDCARD else _regex(first)
    return re.compile(r"\.".join([start, *map(_regex, others)]))


def _regex(label: str) -> str:
    return re.escape(label).replace(re.escape(_WILDCARD), "[a-z0-9_-]+")
