"""Tests of the ids of facts."""

from aibridge_addon.facts import derived_id, id_of_day, new_id


def test_derived_id_is_the_same_for_the_same_names_and_sorts_like_its_base() -> None:
    base = new_id()
    assert derived_id(base, "a") == derived_id(base, "a") != derived_id(base, "b")
    assert derived_id(base, "a")[:15] == base[:15]
    assert derived_id(base, "a") != derived_id(new_id(), "a")


def test_id_of_a_day_is_the_same_in_every_process() -> None:
    assert id_of_day("openai", "batch_1") == id_of_day("openai", "batch_1")
    assert id_of_day("openai", "batch_1") < new_id()
