"""`Redaction`: redacts texts, JSON documents and JSON values by the current rules."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aibridge_addon.redaction.credentials import Credentials
from aibridge_addon.redaction.members import (
    is_secret,
    mcp_secrets,
    without_secret_members,
)
from aibridge_addon.redaction.rules import (
    MARK,
    PRIVATE_KEY,
    Haystack,
    OwnRule,
    Rule,
    built_in_rules,
    own_rules,
)
from aibridge_addon.redaction.windows import is_binary, windows

_CREDENTIAL = MARK.format("credential of the request")
_NAMED = MARK.format("credential")
_SHORTEST = 5
"""Characters of a text that may match; rules of the config file may be short."""
_VERSION = 2
"""To be raised with each change of the rules, so that parts are redacted again."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u00|/)")
"""Escapes that may hide an anchor in a JSON document."""


class Redaction:
    """Replaces secrets by marks such as `[redacted: AWS key]`.

    `use` may be called on one thread while others redact.
    """

    def __init__(self, *, is_on: bool = True, own: Sequence[OwnRule] = ()) -> None:
        self.credentials = Credentials()
        """Credentials of requests, which are cut even if redaction is off."""
        self.use(is_on=is_on, own=own)

    def use(self, *, is_on: bool, own: Sequence[OwnRule]) -> None:
        """Use other rules from now on."""
        self._settings: tuple[bool, tuple[OwnRule, ...]] = (is_on, tuple(own))
        self._rules: tuple[Rule, ...] | None = None if is_on else ()
        settings = json.dumps([_VERSION, *self._settings]).encode()
        self.fingerprint = hashlib.blake2b(settings, digest_size=16).digest()
        """Differs between settings that may redact a text differently."""

    def load(self) -> tuple[Rule, ...]:
        """Return the rules; the first call imports detect-secrets."""
        if (rules := self._rules) is None:
            _, own = self._settings
            rules = self._rules = (PRIVATE_KEY, *own_rules(own), *built_in_rules())
        return rules

    def text(self, text: str, credentials: Collection[str] = ()) -> str:
        """Redact a text; `credentials` are secrets that the request itself came with."""
        return _redacted(text, self.load(), credentials)

    def text_of(self, interception_id: str, text: str) -> str:
        """Redact a text of a request, and the credentials that the request came with."""
        return self.text(text, self.credentials.of(interception_id))

    def value(self, value: Any, credentials: Collection[str] = ()) -> Any:
        """Redact all texts of a JSON value."""
        match value:
            case str():
                return self.text(value, credentials)
            case Mapping():
                return {name: self._member(name, item, credentials) for name, item in value.items()}
            case list() | tuple():
                return [self.value(item, credentials) for item in value]
        return value

    def _member(self, name: str, value: Any, credentials: Collection[str]) -> Any:
        if self.load() and isinstance(value, str) and value and is_secret(name):
            return _NAMED
        return self.value(value, credentials)

    def without(self, content: bytes, credentials: Collection[str]) -> bytes:
        """Cut credentials out of a JSON document, and nothing else."""
        for credential in credentials:
            content = content.replace(credential.encode(), _CREDENTIAL.encode())
        return content

    def document(self, content: bytes, credentials: Collection[str] = ()) -> bytes:
        """Redact all texts of a JSON document; the rest keeps its bytes."""
        rules = self.load()
        if rules:
            content = without_secret_members(content, _NAMED)
            credentials = (*mcp_secrets(content), *credentials)
        if not _ESCAPE.search(content):
            rules = _relevant(rules, content.decode("utf-8", "replace"))
            if not rules and not any(credential.encode() in content for credential in credentials):
                return content

        def redacted(match: re.Match[bytes]) -> bytes:
            try:
                before = json.loads(match[0], strict=False)
            except ValueError:  # not UTF-8, or no escape of JSON
                before = match[0][1:-1].decode("utf-8", "replace")
            after = _redacted(before, rules, credentials)
            if after == before:
                return match[0]
            return json.dumps(after, ensure_ascii=False).encode("utf-8", "replace")

        return _STRING.sub(redacted, content)


def _redacted(text: str, rules: Sequence[Rule], credentials: Collection[str]) -> str:
    if len(text) < _SHORTEST or is_binary(text):
        return text
    for credential in credentials:
        text = text.replace(credential, _CREDENTIAL)
    rules = _relevant(rules, text)
    if not rules:
        return text
    if PRIVATE_KEY in rules:
        text = PRIVATE_KEY.apply(text)
    return "".join(_redacted_window(window, rules) for window in windows(text))


def _relevant(rules: Sequence[Rule], text: str) -> tuple[Rule, ...]:
    haystack = Haystack.of_text(text) if rules else Haystack("", "")
    if not haystack.words:
        return tuple(rule for rule in rules if not rule.anchors)
    return tuple(rule for rule in rules if rule.may_match(haystack))


def _redacted_window(text: str, rules: Sequence[Rule]) -> str:
    for rule in rules:
        text = rule.apply(text)
    return text
