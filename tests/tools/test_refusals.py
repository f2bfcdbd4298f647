"""Refused edits are remembered, but neither for ever nor without bound."""

from aibridge_addon.tools import refusals
from aibridge_addon.tools.refusals import Refusals


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_refusal_is_remembered_until_it_expires():
    clock = Clock()
    remembered = Refusals(clock)
    remembered.add(("scope", "model", "tools"))

    clock.now = refusals.SECONDS - 1
    assert ("scope", "model", "tools") in remembered
    assert ("scope", "another", "tools") not in remembered
    clock.now = refusals.SECONDS
    assert ("scope", "model", "tools") not in remembered


def test_oldest_refusals_are_forgotten_beyond_the_bound(monkeypatch):
    monkeypatch.setattr(refusals, "MAX_REFUSALS", 2)
    remembered = Refusals(Clock())
    for edit in ("a", "b", "a", "c"):
        remembered.add(edit)

    assert [edit in remembered for edit in "abc"] == [True, False, True]
