"""Limit for the total size of the request bodies in memory."""

from aibridge_addon.relay.held_bodies import HeldBodies


def held(most: int | None) -> HeldBodies:
    bodies = HeldBodies()
    bodies.most = most
    return bodies


def test_request_bodies_are_held_up_to_a_total_size() -> None:
    bodies = held(10)
    assert bodies.hold("c1", "f1", 4)
    assert bodies.hold("c1", "f2", 4)
    assert not bodies.hold("c2", "f3", 4)
    assert bodies.hold("c2", "f4", 2)
    assert bodies.total == 10


def test_growing_body_is_counted_once() -> None:
    bodies = held(10)
    assert [bodies.hold("c1", "f1", size) for size in (3, 6, 10)] == [True] * 3
    assert bodies.total == 10


def test_refused_body_is_no_longer_counted() -> None:
    bodies = held(10)
    bodies.hold("c1", "f1", 6)
    assert not bodies.hold("c1", "f1", 11)
    assert bodies.total == 0


def test_body_that_is_released_twice_is_subtracted_once() -> None:
    bodies = held(10)
    bodies.hold("c1", "f1", 6)
    bodies.hold("c1", "f2", 3)
    bodies.release("c1", "f1")
    bodies.release("c1", "f1")
    assert bodies.total == 3
    bodies.release_all("c1")
    bodies.release_all("c1")
    bodies.release("c1", "f2")
    assert bodies.total == 0


def test_all_bodies_are_held_without_a_limit() -> None:
    assert held(None).hold("c1", "f1", 10**12)
