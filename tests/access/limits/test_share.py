"""Shares of processes in a limit."""

from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.access.limits.share import Share

processes = st.integers(1, 50)


def shares(number: int) -> list[Share]:
    return [Share(processes=number, rank=rank) for rank in range(number)]


@given(number=processes, whole=st.integers(1, 1000))
def test_open_requests_of_all_processes_are_the_whole_limit(number: int, whole: int) -> None:
    slots = [share.slots_of(whole) for share in shares(number)]
    assert min(slots) >= 1
    assert sum(slots) == max(whole, number)


@given(number=processes, whole=st.integers(1, 10**12))
def test_rates_of_all_processes_are_the_whole_limit_unless_that_leaves_less_than_one(
    number: int, whole: int
) -> None:
    rates = {share.rate_of(whole) for share in shares(number)}
    assert rates == {max(1.0, whole / number)}
