"""Tests of typed prompts: each is new once, however often it is sent."""

import pytest
from store.doubles import ended, started

from aibridge_addon.exchange import typed_prompts
from aibridge_addon.exchange.typed_prompts import NewPrompt, TypedPrompts
from aibridge_addon.facts import Interception, Status
from aibridge_addon.providers.request_kind import Purpose


def with_id(prompt_id: str) -> Interception:
    return started(prompt_id=prompt_id)


def in_session(session: str = "s-1") -> Interception:
    return started(prompt_id=None, client_session_id=session)


def without_session() -> Interception:
    return started(prompt_id=None, client_session_id=None)


def ask(
    prompts: TypedPrompts,
    asks: Interception,
    *typed: str,
    position: str | None = "0",
    is_retry: bool = False,
) -> str | None:
    purpose = Purpose(kind="turn", typed=typed)
    new = prompts.new(asks, purpose, position=position, is_retry=is_retry)
    return new.text if new else None


def digest(asks: Interception, *typed: str, position: str = "0") -> str | None:
    new = TypedPrompts().new(asks, Purpose(kind="turn", typed=typed), position=position)
    assert isinstance(new, NewPrompt)
    return new.digest


def test_prompt_is_new_once_for_each_id_of_the_client() -> None:
    prompts = TypedPrompts()
    asked = [ask(prompts, with_id(name), "hello") for name in ("p-1", "p-1", "p-2", "p-1")]
    assert asked == ["hello", None, "hello", None]


def test_second_message_with_the_same_prompt_id_is_another_prompt() -> None:
    prompts = TypedPrompts()
    ask(prompts, with_id("p-1"), "hello")
    assert ask(prompts, with_id("p-1"), "and this", position="4") == "and this"
    assert ask(prompts, with_id("p-1"), "and this", position="4") is None


def test_request_without_typed_text_has_no_new_prompt() -> None:
    assert ask(TypedPrompts(), with_id("p-1")) is None


@pytest.mark.parametrize("status", [Status.FAILED, Status.REFUSED, Status.CANCELLED, None])
def test_same_text_at_the_position_of_an_uncompleted_request_is_a_retry(
    status: Status | None,
) -> None:
    prompts = TypedPrompts()
    first = in_session()
    assert ask(prompts, first, "yes", position="2") == "yes"
    if status:
        prompts.on_ended(ended(first, status=status))
    assert ask(prompts, in_session(), "yes", position="2") is None


def test_same_text_typed_again_in_a_session_is_new() -> None:
    prompts = TypedPrompts()
    ask(prompts, in_session(), "yes", position="2")
    assert ask(prompts, in_session(), "yes", position="4") == "yes"
    assert ask(prompts, in_session("s-2"), "yes", position="2") == "yes"


def test_same_text_at_the_position_of_a_completed_request_is_new() -> None:
    prompts = TypedPrompts()
    for _ in range(2):  # as after the history was cleared
        failed, retry = in_session(), in_session()
        assert ask(prompts, failed, "hello") == "hello"
        prompts.on_ended(ended(failed, status=Status.FAILED))
        assert ask(prompts, retry, "hello") is None
        prompts.on_ended(ended(retry))


def test_declared_retry_of_a_completed_request_is_not_new() -> None:
    prompts = TypedPrompts()
    first = in_session()
    assert ask(prompts, first, "hello", is_retry=True) == "hello"
    prompts.on_ended(ended(first))
    assert ask(prompts, in_session(), "hello", is_retry=True) is None
    assert ask(prompts, in_session(), "hello", position="1", is_retry=True) == "hello"


def test_completed_prompt_with_an_id_is_not_new_again() -> None:
    prompts = TypedPrompts()
    first = with_id("p-1")
    ask(prompts, first, "hello")
    prompts.on_ended(ended(first))
    assert ask(prompts, with_id("p-1"), "hello") is None


def test_message_before_an_interrupt_is_not_recorded_again() -> None:
    prompts = TypedPrompts()
    ask(prompts, in_session(), "the first")
    assert ask(prompts, in_session(), "the first", "the second") == "the second"
    assert ask(prompts, in_session(), "the first", "the second") is None


def test_same_text_typed_again_after_an_interrupt_is_new() -> None:
    prompts = TypedPrompts()
    ask(prompts, in_session(), "go on")
    assert ask(prompts, in_session(), "go on", "go on") == "go on"


def test_message_before_an_interrupt_is_recognised_under_another_prompt_id() -> None:
    prompts = TypedPrompts()
    ask(prompts, with_id("p-1"), "the first")
    assert ask(prompts, with_id("p-2"), "the first", "the second", position="9") == "the second"


def test_new_messages_in_one_request_are_one_prompt() -> None:
    assert ask(TypedPrompts(), in_session(), "one", "two") == "one\ntwo"


def test_each_request_without_a_known_position_is_new() -> None:
    prompts = TypedPrompts()
    assert ask(prompts, in_session(), "yes", position=None) == "yes"
    assert ask(prompts, in_session(), "yes", position=None) == "yes"


def test_digest_depends_on_the_prompt_id_and_not_on_the_position() -> None:
    assert digest(with_id("p-1"), "hello") == digest(with_id("p-1"), "hello", position="7")
    assert digest(with_id("p-1"), "hello") != digest(with_id("p-2"), "hello")
    assert digest(in_session(), "hello") is None
    assert digest(without_session(), "hello") is None


def test_same_text_without_a_session_is_new() -> None:
    prompts = TypedPrompts()
    assert ask(prompts, without_session(), "hello") == "hello"
    assert ask(prompts, without_session(), "hello") == "hello"


def test_declared_retry_without_a_session_is_not_new() -> None:
    prompts = TypedPrompts()
    assert ask(prompts, without_session(), "hello", is_retry=True) == "hello"
    assert ask(prompts, without_session(), "hello", is_retry=True) is None


def test_number_of_remembered_prompts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed_prompts, "_MAX_DIGESTS", 4)
    prompts = TypedPrompts()
    for number in range(10):
        ask(prompts, with_id(f"p-{number}"), "hello")
    assert ask(prompts, with_id("p-9"), "hello") is None
    assert ask(prompts, with_id("p-0"), "hello") == "hello"
