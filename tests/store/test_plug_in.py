"""Third-party recorders: names, optional methods, and errors."""

from pathlib import Path
from typing import Any, get_protocol_members

import pytest
from store.doubles import all_of_one, record, started

from aibridge_addon.store.recorder import Recorder, RecorderError, load

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
    '''Has all attributes of a recorder without being a subclass.'''
    def __getattr__(self, name):
        return print

class Incomplete:
    def start(self):
        pass

constant = 1
"""


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_audit.py").write_text(MODULE)
    (tmp_path / "acme_syntax.py").write_text("class Audit(:")
    (tmp_path / "acme_raises.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)


class Silent(Recorder):
    """Overrides nothing."""


async def test_recorder_without_overrides_accepts_every_fact() -> None:
    recorder = Silent()

    recorder.start()
    record(recorder, *all_of_one(started()))
    assert await recorder.kept() is True
    assert recorder.available is True
    recorder.close()


def test_each_fact_is_passed_to_its_recorder_method() -> None:
    recorded: list[tuple[str, Any]] = []

    class Collecting(Recorder):
        def record_interception(self, fact: Any) -> None:
            recorded.append(("interception", fact))

        def record_interception_ended(self, fact: Any) -> None:
            recorded.append(("ended", fact))

        def record_token_usage(self, fact: Any) -> None:
            recorded.append(("tokens", fact))

        def record_prompt_usage(self, fact: Any) -> None:
            recorded.append(("prompt", fact))

        def record_tool_usage(self, fact: Any) -> None:
            recorded.append(("tool", fact))

        def record_model_thought(self, fact: Any) -> None:
            recorded.append(("thought", fact))

    facts = all_of_one(started())

    record(Collecting(), *facts)

    assert recorded == list(
        zip(["interception", "prompt", "tokens", "tool", "thought", "ended"], facts, strict=True)
    )


def test_third_party_recorder_is_created_by_its_name() -> None:
    recorder = load("acme_audit:Silent")

    assert type(recorder).__name__ == "Silent"
    record(recorder, started())


def test_third_party_recorder_need_not_be_a_subclass() -> None:
    record(load("acme_audit:Duck"), started())


@pytest.mark.parametrize("name", ["acme_audit", "acme_audit:", ":Silent", ":", "acme_audit.Silent"])
def test_recorder_name_of_another_form_is_refused_with_an_example(name: str) -> None:
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
def test_recorder_that_cannot_be_created_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(RecorderError) as caught:
        load(name)

    assert str(caught.value).startswith(f"cannot create the recorder {name!r}: ")
    assert reason in str(caught.value)


def test_object_that_lacks_recorder_methods_is_refused_with_their_names() -> None:
    with pytest.raises(RecorderError) as caught:
        load("acme_audit:Incomplete")

    missing = ", ".join(sorted(get_protocol_members(Recorder) - {"start"}))
    assert str(caught.value) == (
        f"'acme_audit:Incomplete' is not a recorder: it lacks {missing};"
        " subclass aibridge_addon.store.recorder.Recorder"
    )
