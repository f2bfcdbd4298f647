"""Files that are read again when they have changed: looked at once a second, as mitmproxy does it.

Not the operating system's notifications: looking works everywhere alike, for a file that is written
over, replaced, or behind a link that is turned to another (as Kubernetes does). A file is told of
only when it looks the same twice, so that one that is being written is not read in halves.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

type _Stamp = tuple[int, ...] | None


class FileWatch:
    """Calls `read` when one of `files` has changed, and whenever it is asked to; once at a time."""

    def __init__(
        self, files: Callable[[], Iterable[Path]], read: Callable[[], Awaitable[None]]
    ) -> None:
        self._files = files
        self._read = read
        self._known: dict[Path, _Stamp] = {}
        self._seen: dict[Path, _Stamp] = {}
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="aibridge file watch")

    def stop(self) -> None:
        """Look no more."""
        if self._task:
            self._task.cancel()

    def ask(self) -> None:
        """Have the files read, whether they have changed or not."""
        self._asked.set()

    def note(self) -> None:
        """Take the files for known as they are now: they are about to be read."""
        self._known = self._seen = self._look()

    def has_changed(self) -> bool:
        """Look; whether they are not as they are known, and as they were at the last look."""
        before, self._seen = self._seen, self._look()
        return self._known != self._seen == before

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()
            if not (self._asked.is_set() or self.has_changed()):
                continue
            self._asked.clear()
            self.note()
            try:
                await self._read()
            except Exception:  # the edge: the next change is to be seen all the same
                logger.exception("aibridge: a bug of ours in reading files again")

    def _look(self) -> dict[Path, _Stamp]:
        return {path: _stamp(path) for path in self._files()}


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    # With the time of its status: it may have become readable.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
