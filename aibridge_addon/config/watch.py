"""Watches files by polling once a second, as mitmproxy does, and reads them again after a change.

Polling works the same on every system, for a file that is overwritten, replaced, or behind a
symbolic link that is changed (as Kubernetes does). A change counts once two polls see the same
state, so that a file is not read while it is written.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0

type _Stamp = tuple[int, ...] | None


class FileWatch:
    """Calls `read` after a change of `files` and on request; never twice at the same time."""

    def __init__(
        self, files: Callable[[], Iterable[Path]], read: Callable[[], Awaitable[None]]
    ) -> None:
        self._files = files
        self._read = read
        self._known: dict[Path, _Stamp] = {}
        self._seen: dict[Path, _Stamp] = {}
        self._requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start polling on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="aibridge file watch")

    def stop(self) -> None:
        """Stop polling."""
        if self._task:
            self._task.cancel()

    def ask(self) -> None:
        """Read the files soon, changed or not."""
        self._requested.set()

    def note(self) -> None:
        """Remember the present state of the files: they are about to be read."""
        self._known = self._seen = self._poll()

    def has_changed(self) -> bool:
        """Poll; return True if the state is new and the same as at the previous poll."""
        before, self._seen = self._seen, self._poll()
        return self._known != self._seen == before

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._requested.wait()
            if not (self._requested.is_set() or self.has_changed()):
                continue
            self._requested.clear()
            self.note()
            try:
                await self._read()
            except Exception:  # the edge: the next change must be read all the same
                logger.exception("aibridge: internal error while reading changed files")

    def _poll(self) -> dict[Path, _Stamp]:
        return {path: _stamp(path) for path in self._files()}


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    # The status time is included: the file may have become readable.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
