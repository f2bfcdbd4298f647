"""Recorders of others: how they are named, what they may leave out, what is said of mistakes."""

from typing import get_protocol_members

import pytest
from store.doubles import all_of_one, started

from aibridge_addon.store.recorder import Recorder, RecorderError, load, subscriber

MODULE = """
from aibridge_addon.store.recorder import Recorder

class Silent(Recorder):
    pass

class Picky(Recorder):
    def __init__(self, dsn):
        pass

class Broken(Recorder):
    def __init__(self):
        raise ValueError("no DSN")

class Duck:
    '''Has all that a recorder has, and is none.'''
    def __getattr__(self, name):
        return print

class Nobody:
    def start(self):
        pass

constant = 1
"""


@pytest.fixture(autouse=True)
def _modules(tmp_path, monkeypatch):
    (tmp_path / "acme_audit.py").write_text(MODULE)
    (tmp_path / "acme_syntax.py").write_text("class Audit(:")
    (tmp_path / "acme_raises.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)


class Silent(Recorder):
    """Overrides nothing."""


async def test_a_recorder_needs_to_override_nothing():
    recorder = Silent()

    assert recorder.start() is None
    for fact in all_of_one(started()):
        assert subscriber(recorder)(fact) is None
    assert await recorder.kept() is True
    assert recorder.available is True
    assert recorder.close() is None


def test_each_fact_goes_to_its_method():
    told = []

    class Telling(Recorder):
        def record_interception(self, fact):
            told.append(("interception", fact))

        def record_interception_ended(self, fact):
            told.append(("ended", fact))

        def record_token_usage(self, fact):
            told.append(("tokens", fact))

        def record_prompt_usage(self, fact):
            told.append(("prompt", fact))

        def record_tool_usage(self, fact):
            told.append(("tool", fact))

        def record_model_thought(self, fact):
            told.append(("thought", fact))

    facts = all_of_one(started())
    give = subscriber(Telling())

    for fact in facts:
        give(fact)

    assert told == list(
        zip(["interception", "prompt", "tokens", "tool", "thought", "ended"], facts, strict=True)
    )


def test_a_recorder_is_made_by_name():
    recorder = load("acme_audit:Silent")

    assert type(recorder).__name__ == "Silent"
    subscriber(recorder)(started())


def test_a_recorder_need_not_be_a_subclass():
    subscriber(load("acme_audit:Duck"))(started())


@pytest.mark.parametrize("name", ["acme_audit", "acme_audit:", ":Silent", ":", "acme_audit.Silent"])
def test_a_name_of_another_shape_is_told_the_right_one(name):
    with pytest.raises(RecorderError) as caught:
        load(name)

    assert str(caught.value) == (
        f"{name!r} is not of the form module:Class, such as my_company.audit:Recorder"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("acme_missing:Silent", "No module named 'acme_missing'"),
        ("acme_audit.sub:Silent", "No module named 'acme_audit.sub'"),
        ("acme_audit:Missing", "has no attribute 'Missing'"),
        ("acme_audit:Silent:x", "has no attribute 'Silent:x'"),
        ("acme_audit:Picky", "missing 1 required positional argument: 'dsn'"),
        ("acme_audit:constant", "'int' object is not callable"),
        ("acme_audit:Broken", "no DSN"),
        ("acme_syntax:Audit", "invalid syntax"),
        ("acme_raises:Audit", "no licence"),
        (".acme_audit:Silent", "relative import"),
    ],
)
def test_what_cannot_be_made_is_named_with_the_reason(name, reason):
    with pytest.raises(RecorderError) as caught:
        load(name)

    assert str(caught.value).startswith(f"cannot create the recorder {name!r}: ")
    assert reason in str(caught.value)


def test_what_is_no_recorder_is_told_what_it_lacks():
    with pytest.raises(RecorderError) as caught:
        load("acme_audit:Nobody")

    lacks = ", ".join(sorted(get_protocol_members(Recorder) - {"start"}))
    assert str(caught.value) == (
        f"'acme_audit:Nobody' is not a recorder: it lacks {lacks};"
        " subclass aibridge_addon.store.recorder.Recorder"
    )
