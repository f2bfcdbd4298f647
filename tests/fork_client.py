"""Takes the place of a program that others start: asks for a fork that runs it, and waits.

    python -I -S tests/fork_client.py ADDRESS SCRIPT ARGUMENTS...

An interpreter without imports takes a hundredth of the processor time of the programs' imports.
"""

import contextlib
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(__file__))

from fork_messages import receive, send

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Run the program, and end as it ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until there is a process to pass them to
    address, *arguments = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{address}")
        request = {"arguments": arguments, "env": dict(os.environ), "cwd": os.getcwd()}
        send(connection, request, [0, 1, 2])
        pid = _number(connection)
        for number in PASSED_ON:
            signal.signal(number, lambda received, _frame: _pass_on(pid, received))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        code = _number(connection)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _pass_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, number)


def _number(connection: socket.socket) -> int:
    message, _ = receive(connection)
    if message is None:
        sys.exit("the process that forks has ended")
    return int(message["number"])


if __name__ == "__main__":
    main()
