"""The waiting room is fair, and forgets whoever leaves."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.access.limits.waiting_room import WaitingRoom

type Ticket = tuple[str, int]


def filled(*actors: str) -> WaitingRoom[Ticket]:
    room: WaitingRoom[Ticket] = WaitingRoom()
    for number, actor in enumerate(actors):
        room.add(actor, (actor, number))
    return room


def served(room: WaitingRoom[Ticket], most: int) -> list[Ticket]:
    """Serve at most so many; return them in order."""
    found: list[Ticket] = []

    def admit(ticket: Ticket) -> bool:
        if len(found) < most:
            found.append(ticket)
            return True
        return False

    room.serve(admit)
    return found


def test_actor_with_many_requests_does_not_delay_others() -> None:
    room = filled("hasty", "hasty", "hasty", "calm", "late")
    order = [actor for actor, _ in served(room, 10)]
    assert order == ["hasty", "calm", "late", "hasty", "hasty"]
    assert len(room) == 0


def test_turn_is_kept_over_several_servings() -> None:
    room = filled("a", "a", "a", "b", "b")
    order = [actor for _ in range(5) for actor, _ in served(room, 1)]
    assert order == ["a", "b", "a", "b", "a"]


def test_actor_without_room_does_not_block_others() -> None:
    room = filled("full", "free", "free")
    room.serve(lambda ticket: ticket[0] == "free")
    assert len(room) == 1
    assert room.first_of("full") == ("full", 0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc")),
            st.tuples(st.just("remove"), st.integers(0, 50)),
            st.tuples(st.just("serve"), st.integers(0, 4)),
        )
    )
)
def test_each_actor_is_served_in_order_and_nobody_is_lost_or_served_twice(
    steps: list[tuple[str, str | int]],
) -> None:
    room: WaitingRoom[Ticket] = WaitingRoom()
    waiting: dict[str, deque[Ticket]] = {actor: deque() for actor in "abc"}
    tickets: list[Ticket] = []
    for step, value in steps:
        if isinstance(value, str):
            tickets.append((value, len(tickets)))
            room.add(value, tickets[-1])
            waiting[value].append(tickets[-1])
        elif step == "remove" and tickets:
            ticket = tickets[value % len(tickets)]
            room.remove(ticket[0], ticket)
            if ticket in waiting[ticket[0]]:
                waiting[ticket[0]].remove(ticket)
        elif step == "serve":
            for ticket in served(room, value):
                assert waiting[ticket[0]].popleft() == ticket
        assert len(room) == sum(map(len, waiting.values()))
