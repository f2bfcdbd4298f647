"""PostgreSQL servers for tests, on free ports, with folders of their own.

A server ends with the process that it was started for, however that dies: run as a program, this
module starts the server and watches over it.
"""

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
from ports import free_port

PLACES = (
    *os.environ.get("PATH", "").split(":"),
    *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True),
    *sorted(glob.glob("/usr/pgsql-*/bin"), reverse=True),
    *sorted(glob.glob("/opt/homebrew/opt/postgresql*/bin"), reverse=True),
)
BOUND = 30
"""Time limit in seconds of every wait."""
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 100
log_min_messages = warning
deadlock_timeout = 200ms
"""
HBA = """
host all keeper 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""


def folder_of_programs() -> str | None:
    """Return the folder with the programs of PostgreSQL; None: it is not installed."""
    wanted = ("initdb", "postgres")
    return next((p for p in PLACES if all(os.access(f"{p}/{w}", os.X_OK) for w in wanted)), None)


def as_user() -> list[str]:
    """Return the command that runs a program as another user: the server refuses to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]


class Server:
    """A server, which can be stopped and started again."""

    def __init__(self, *, tls: Path | None = None, **settings: Any) -> None:
        self.programs = folder_of_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="aibridge-postgres-"))
        self.own(self.folder)
        self.data = self.folder / "data"
        self.port = free_port()
        self.make_data()
        if tls is not None:
            settings |= {"ssl": "on"}
            for source, name in ((tls, "server.crt"), (tls.with_suffix(".key"), "server.key")):
                shutil.copy(source, self.data / name)
                (self.data / name).chmod(0o600)
                self.own(self.data / name)
        more = "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{CONFIGURATION}{more}")
        (self.data / "pg_hba.conf").write_text(HBA)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def own(self, path: Path) -> None:
        """Give a file to the user of the server."""
        if os.getuid() == 0:
            shutil.chown(path, "postgres")

    def make_data(self) -> None:
        """Make the folder with the data."""
        run = [f"{self.programs}/initdb", "-D", str(self.data), "-U", "postgres", "-N", "-A"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "cwd": "/"}
        subprocess.run(
            [*as_user(), *run, "trust", "-E", "UTF8", "--locale=C.UTF-8"], check=True, **quiet
        )

    @property
    def url(self) -> str:
        """Address of the server, without a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}"

    def start(self, port: int | None = None) -> None:
        """Start the server, at another port if one is given; wait until it accepts connections."""
        self.port = port or self.port
        self.process = self._run()
        end = time.monotonic() + BOUND
        while not self._is_ready():
            assert time.monotonic() < end, (self.folder / "log").read_text()
            if self.process.poll() is not None:  # children of a killed server still run
                self.process = self._run()
            time.sleep(0.02)

    def _run(self) -> "subprocess.Popen[bytes]":
        words = [f"{self.programs}/postgres", "-D", str(self.data), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([*as_user(), *words], stdout=log, stderr=log, cwd="/")

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(f"{self.url}/postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends all connections, SIGQUIT is like a crash.

        SIGKILL reaches the processes of its connections too, which would go on for a moment.
        """
        if self.process is not None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(how)
            self.process.wait(BOUND)
            self.process = None
            if how == signal.SIGKILL:
                for child in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            psutil.wait_procs(children, BOUND)

    def follow(self) -> None:
        """Restart as a standby, which cannot be written, until it is promoted."""
        self.stop()
        (self.data / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        """Stop replicating, and accept writes."""
        with psycopg.connect(f"{self.url}/postgres", autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def remove(self) -> None:
        """Stop the server, and delete its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


class Standby(Server):
    """A server that replicates another until it is promoted."""

    def __init__(self, primary: Server) -> None:
        self._primary = primary
        super().__init__(
            synchronous_standby_names="''",
            primary_conninfo=f"'host=127.0.0.1 port={primary.port} user=postgres'",
        )

    def make_data(self) -> None:
        """Copy the data of the primary server, which is stopped meanwhile."""
        self._primary.stop()
        subprocess.run(["cp", "-a", str(self._primary.data), str(self.data)], check=True)
        self._primary.start()
        (self.data / "standby.signal").touch()


@contextlib.contextmanager
def shared(folder: Path, owner: int) -> Iterator[str]:
    """Return the address of the server that all workers of a run share; the first starts it."""
    import fcntl

    known = folder / "postgres.json"
    with (folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not known.exists():
            run = [sys.executable, __file__, str(known), str(owner)]
            os.posix_spawn(sys.executable, run, os.environ)  # which outlives these tests
            end = time.monotonic() + BOUND
            while not known.exists():
                assert time.monotonic() < end, "PostgreSQL does not start"
                time.sleep(0.02)
    yield json.loads(known.read_text())["url"]


def watch(known: Path, owner: int) -> None:
    """Run a server as long as a process lives."""
    from databases import make_template  # imports the package, which only this needs

    os.setsid()  # so that Ctrl-C does not end it before the tests
    server = Server()
    try:
        make_template(server.url)
        partial = known.with_suffix(".new")
        partial.write_text(json.dumps({"url": server.url}))
        partial.rename(known)
        while _lives(owner):
            time.sleep(0.5)
    finally:
        server.remove()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    watch(Path(sys.argv[1]), int(sys.argv[2]))
