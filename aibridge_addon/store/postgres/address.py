"""Address of a PostgreSQL database: `postgresql://…`, as libpq reads it, without its secrets."""

import re
from urllib.parse import unquote

from aibridge_addon.store.errors import StoreError

_USER_INFO = re.compile(r"^(?P<scheme>\w+://)(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@")
_SECRET = re.compile(r"(?P<key>[?&](?:\w*password|\w*secret)=)(?P<value>[^&]*)")
HIDDEN = "***"
_given: dict[str, str] = {}
"""Addresses with secrets that this process was given, by their public ones: its web page opens the
address that other processes see."""


class Address:
    """A database's address. Its text has no secrets; `dsn` has."""

    def __init__(self, dsn: str) -> None:
        found = _USER_INFO.match(dsn)
        secrets = [found["password"] or ""] if found else []
        secrets += [match["value"] for match in _SECRET.finditer(dsn)]
        self._secrets = {text for secret in secrets for text in (secret, unquote(secret)) if text}
        self.public = _public(dsn)
        """The address without passwords, which other processes can open with `PGPASSWORD`, a
        password file or a client certificate."""
        if self._secrets:
            _given[self.public] = dsn
        self.dsn = _given.get(self.public, dsn)

    def check(self) -> None:
        """Check that the address can be read unambiguously.

        Raises:
            StoreError: a character of the user or password is not percent-encoded: libpq would take
                a part of the password for the host, and its errors would show it.
        """
        if _is_ambiguous(self.dsn):
            raise StoreError(
                "the address of the PostgreSQL database in aibridge_db is ambiguous: write @ as"
                " %40, / as %2F and : as %3A in its user and password"
            )

    def without_secrets(self, text: object) -> str:
        """Return the text of an error on one line, without the secrets of the address."""
        line = " ".join(str(text).split())
        for secret in sorted(self._secrets, key=len, reverse=True):
            line = line.replace(secret, HIDDEN)
        return line


def _is_ambiguous(dsn: str) -> bool:
    rest = dsn.partition("://")[2].partition("?")[0]
    authority = rest.partition("/")[0]
    return rest.count("@") > authority.count("@") or authority.count("@") > 1


def _public(dsn: str) -> str:
    if _is_ambiguous(dsn):
        return f"{dsn.partition('://')[0]}://{HIDDEN}"
    public = _USER_INFO.sub(lambda found: f"{found['scheme']}{found['user']}@", dsn)
    head, _, query = public.partition("?")
    kept = [part for part in query.split("&") if part and not _SECRET.match(f"?{part}")]
    return "?".join([head, "&".join(kept)] if kept else [head])
