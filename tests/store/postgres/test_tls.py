"""Parameters of TLS in the address of a database."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import Server, folder_of_programs
from standin import make_authority

from aibridge_addon.store.errors import RecorderError
from aibridge_addon.store.postgres.address import Address
from aibridge_addon.store.postgres.connection import connect
from aibridge_addon.store.postgres.inspection import inspect
from aibridge_addon.store.postgres.recorder import PostgresRecorder

pytestmark = [
    pytest.mark.skipif(not folder_of_programs(), reason="PostgreSQL is not installed"),
    pytest.mark.e2e,
]
_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a certificate of the server, with its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "server.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=database.example",
        "-keyout",
        str(folder / "server.key"),
    ]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(path)]
    subprocess.run(made, check=True, stderr=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[Server]:
    """Return a server with TLS."""
    made = Server(tls=certificate)
    try:
        yield made
    finally:
        made.remove()


def test_server_with_the_expected_certificate_is_used_with_encryption(
    server: Server, certificate: Path
) -> None:
    location = f"{server.url}/postgres?sslmode=verify-full&sslrootcert={certificate}"
    with closing(connect(Address(location))) as connection:
        assert connection.execute(_ENCRYPTED).fetchone() == (True,)


def test_server_with_another_certificate_stops_the_start(server: Server, tmp_path: Path) -> None:
    other = make_authority(tmp_path).path
    location = f"{server.url}/postgres?sslmode=verify-full&sslrootcert={other}"
    recorder = PostgresRecorder(Address(location))
    with pytest.raises(RecorderError, match="certificate verify failed"):
        recorder.start()
    recorder.close()
    (found,) = inspect(Address(location))
    assert (found.level, "certificate verify failed" in found.what) == ("bad", True)


def test_certificate_of_another_host_stops_the_start(server: Server, certificate: Path) -> None:
    address = server.url.replace("127.0.0.1", "localhost")
    location = f"{address}/postgres?sslmode=verify-full&sslrootcert={certificate}"
    recorder = PostgresRecorder(Address(location))
    with pytest.raises(RecorderError, match="does not match host name"):
        recorder.start()
    recorder.close()
