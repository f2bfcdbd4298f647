"""Runs a program in a pseudo-terminal, types into it and reads its screen."""

import fcntl
import os
import re
import shlex
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clients.places import RUN_S

_ROWS, _COLUMNS = 40, 120


class Terminal:
    """A terminal, of which the program is the only one in the foreground."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.text = ""
        """All that was shown so far, with its escape sequences."""
        self._ours, self._theirs = os.openpty()
        size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, size)
        self._changed = threading.Condition()
        name = os.ttyname(self._theirs)
        # The leader of a session that opens a terminal gets it as its own.
        script = f"exec {shlex.join(words)} <{name} >{name} 2>&1"
        self._process = subprocess.Popen(
            ["sh", "-c", script],
            env={**env, "TERM": "xterm-256color"},
            cwd=cwd,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        """Press keys; `\\x03` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def wait_for(self, pattern: str, *, after: int = 0) -> None:
        """Wait until something is shown, beyond so many characters; bounded."""
        deadline = time.monotonic() + RUN_S
        with self._changed:
            while not re.search(pattern, self.text[after:]):
                left = deadline - time.monotonic()
                assert left > 0, f"no {pattern!r} in:\n{self.text!r}"
                assert self._reader.is_alive(), f"it ended before {pattern!r}:\n{self.text!r}"
                self._changed.wait(min(left, 1.0))

    def wait(self) -> int:
        """Wait for the program's end; return its exit code."""
        try:
            code = self._process.wait(RUN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.text!r}") from None
        finally:
            self.close()
        return code

    def close(self) -> None:
        """End the program, if it still runs, and take the terminal away."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(RUN_S)
        if self._theirs >= 0:
            os.close(self._theirs)  # now the reader comes to an end
            self._reader.join(RUN_S)
            os.close(self._ours)
            self._theirs = -1

    def _read(self) -> None:
        while shown := self._shown():
            with self._changed:
                self.text += shown.decode(errors="replace")
                self._changed.notify_all()

    def _shown(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:  # nobody has the other end open any more
            return b""
