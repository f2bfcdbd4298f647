"""Redaction of the record, never of the traffic: replaces secrets in what is stored or exported.

Pure, and slow enough to belong on a thread of its own: recorders call it there.
"""

from aibridge_addon.redaction.facts import redacted
from aibridge_addon.redaction.redaction import Redaction
from aibridge_addon.redaction.rules import OwnRule, check_own_pattern

__all__ = ["OwnRule", "Redaction", "check_own_pattern", "redacted"]
