"""Refused edits: remembered for a limited time, and in a limited number."""

import pytest

from aibridge_addon.tools import refused_edits
from aibridge_addon.tools.refused_edits import RefusedEdits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_refused_edit_is_remembered_until_it_expires() -> None:
    clock = Clock()
    remembered = RefusedEdits(clock)
    remembered.add(("scope", "model", "tools"))

    clock.now = refused_edits.SECONDS - 1
    assert ("scope", "model", "tools") in remembered
    assert ("scope", "another", "tools") not in remembered
    clock.now = refused_edits.SECONDS
    assert ("scope", "model", "tools") not in remembered


def test_oldest_refused_edits_are_forgotten_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refused_edits, "MAX_REFUSALS", 2)
    remembered = RefusedEdits(Clock())
    for edit in ("a", "b", "a", "c"):
        remembered.add(edit)

    assert [edit in remembered for edit in "abc"] == [True, False, True]
