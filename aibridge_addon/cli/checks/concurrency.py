"""Runs checks of several servers at the same time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from aibridge_addon.findings import Finding


def at_once[T](check: Callable[[T], Finding], subjects: Iterable[T]) -> list[Finding]:
    """Check all subjects at the same time; return their findings in order."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(check, subjects))
