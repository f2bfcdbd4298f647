"""The process that forks: imports modules once, and runs programs in forks of itself on request.

    python -P tests/fork_server.py TESTS LISTENER MODULES...

The first two are descriptors of sockets: the tests ask on one, and clients connect to the other. It
ends, with its forks, when the tests end.
"""

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import site
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parent))

from fork_messages import receive, send

del sys.path[0]  # programs import no module of the tests


class Forks:
    """The forks that run, and the clients that wait for the end of some of them."""

    def __init__(self, tests: socket.socket, listener: socket.socket) -> None:
        self._tests = tests
        self._listener = listener
        self._of_tests: set[int] = set()
        self._of_clients: dict[socket.socket, tuple[int, int]] = {}
        """Id of the fork, and descriptor of its process."""

    def serve(self) -> list[str]:
        """Fork on request until the tests end; return in each fork, with its arguments."""
        while True:
            ends = {ended: client for client, (_, ended) in self._of_clients.items()}
            waited: list[Any] = [self._tests, self._listener, *self._of_clients, *ends]
            ready = select.select(waited, [], [])[0][0]
            own: list[str] | None = None
            if ready is self._tests:
                own = self._serve_tests()
            elif ready is self._listener:
                own = self._serve_client()
            else:  # its fork has ended, or the client itself, which sends nothing more
                self._end_fork(ends.get(ready, ready))
            if own is not None:
                return own

    def _serve_tests(self) -> list[str] | None:
        request, descriptors = receive(self._tests)
        if request is None:
            self._end()
        if (ended := request.get("ended")) is not None:
            self._of_tests.remove(ended)
            number = os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1])
        elif (number := os.fork()) == 0:
            return self._become(request, descriptors)
        else:
            self._of_tests.add(number)
        _close(descriptors)
        send(self._tests, {"number": number})
        return None

    def _serve_client(self) -> list[str] | None:
        client, _ = self._listener.accept()
        request, descriptors = receive(client)
        if request is None:
            client.close()
            return None
        if (number := os.fork()) == 0:
            client.close()
            return self._become(request, descriptors)
        _close(descriptors)
        self._of_clients[client] = number, os.pidfd_open(number)
        with contextlib.suppress(OSError):
            send(client, {"number": number})
        return None

    def _end_fork(self, client: socket.socket) -> None:
        pid, ended = self._of_clients.pop(client)
        if not select.select([ended], [], [], 0)[0]:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):
            send(client, {"number": code})
        client.close()
        os.close(ended)

    def _end(self) -> NoReturn:
        for pid in (*self._of_tests, *(pid for pid, _ in self._of_clients.values())):
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    def _become(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> list[str]:
        self._tests.close()
        self._listener.close()
        for client, (_, ended) in self._of_clients.items():
            client.close()
            os.close(ended)
        for number, descriptor in enumerate(descriptors, start=3 - len(descriptors)):
            os.dup2(descriptor, number)
        _close(descriptors)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if request.get("session"):
            os.setsid()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        return list(request["arguments"])


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _run(arguments: list[str]) -> None:
    sys.argv = arguments
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [str(Path(arguments[0]).parent), *folders]
    site.execsitecustomize()
    runpy.run_path(arguments[0], run_name="__main__")


def _import(name: str) -> None:
    package = importlib.import_module(name.removesuffix(".*"))
    if name.endswith(".*"):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


def _main() -> None:
    tests, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in sys.argv[3:]:
        _import(module)
    assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1
    gc.freeze()
    _run(Forks(tests, listener).serve())


if __name__ == "__main__":
    _main()
