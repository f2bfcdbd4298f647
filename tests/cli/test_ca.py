"""`aibridge ca`: creates, imports and shows a CA, overwrites nothing, and prints no key."""

import datetime
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from mitmproxy.certs import CertStore
from standin import Authority, make_authority

from aibridge_addon.cli import authority
from aibridge_addon.cli.authority import AuthorityError
from cli.command import Home

type Pair = tuple[Path, Path]

USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
"""Key usage of a CA."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Path of a `confdir` that does not exist yet."""
    return tmp_path / "confdir"


@pytest.fixture
def organisation(tmp_path: Path) -> Authority:
    """CA of an organisation."""
    return make_authority(tmp_path, "organisation")


def ca(home: Home, *words: str, folder: Path, text: str | None = None) -> Result:
    """Run a command of the group; fail if it prints a key."""
    result = home.invoke("ca", *words, "--confdir", str(folder), text=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for path in folder.glob("*"):
        secret, _, _ = path.read_text().partition("-----END PRIVATE KEY-----")
        if secret.startswith("-----BEGIN PRIVATE KEY-----"):
            assert not any(line in result.output for line in secret.splitlines())
    assert "PRIVATE" not in result.output
    return result


def verify(folder: Path, trusted: Path, tmp_path: Path) -> str:
    """Return the complaints of openssl about a certificate that mitmproxy signs with the CA."""
    store = CertStore.from_store(folder, "mitmproxy", 2048)
    entry = store.get_cert("api.anthropic.com", [x509.DNSName("api.anthropic.com")])
    leaf, chain = tmp_path / "leaf.pem", tmp_path / "chain.pem"
    leaf.write_bytes(entry.cert.to_pem())
    chain.write_bytes(b"".join(each.to_pem() for each in entry.chain_certs))
    words = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath"]
    words += ["-no-CAstore", "-CAfile", str(trusted), "-untrusted", str(chain)]
    words += ["-verify_hostname", "api.anthropic.com", str(leaf)]
    ended = subprocess.run(words, capture_output=True, text=True)
    return "" if ended.returncode == 0 else ended.stderr


def as_files(made: Authority) -> Pair:
    """Return the paths of an authority's key and certificate."""
    return made.key_path, made.path


def self_signed(
    tmp_path: Path,
    *,
    is_ca: bool = True,
    days: int = 10,
    length: int | None = None,
    passphrase: bytes | None = None,
    kind: str = "ec",
) -> Pair:
    """Create a key and a certificate that it signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)  # type: ignore[assignment]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=20))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=length), critical=True)
        .add_extension(USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.NoEncryption()
    if passphrase:
        locked = serialization.BestAvailableEncryption(passphrase)  # type: ignore[assignment]
    paths = tmp_path / "their-key.pem", tmp_path / "their-cert.pem"
    paths[0].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    paths[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return paths


# Creating


def test_created_ca_verifies_certificates_that_mitmproxy_signs(
    home: Home, folder: Path, tmp_path: Path
) -> None:
    made = ca(home, "create", "--name", "Example Ltd AI proxy", "--days", "30", folder=folder)
    assert made.exit_code == 0, made.output
    key, public = folder / "mitmproxy-ca.pem", folder / "mitmproxy-ca-cert.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    assert verify(folder, public, tmp_path) == ""
    shown = ca(home, "show", folder=folder).output
    for part in (str(public), "CN=Example Ltd AI proxy", "(29 days)"):
        assert part in shown
    fingerprint = next(line.split()[-1] for line in shown.splitlines() if "SHA-256" in line)
    words = ["openssl", "x509", "-in", str(public), "-noout", "-fingerprint", "-sha256"]
    assert fingerprint in subprocess.run(words, capture_output=True, text=True).stdout
    assert fingerprint in made.output


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_ca_signed_by_an_organisation_is_trusted_through_it(
    home: Home, folder: Path, tmp_path: Path, kind: str
) -> None:
    files = self_signed(tmp_path, days=100, kind=kind)
    made = ca(home, "create", "--signed-by", *map(str, files), folder=folder)
    assert made.exit_code == 0, made.output
    assert verify(folder, files[1], tmp_path) == ""
    shown = ca(home, "show", folder=folder).output
    assert "signed by     CN=somebody" in shown
    assert "(99 days)" in shown or "(98 days)" in shown  # not longer than what signs it


def test_ca_of_an_organisation_is_imported_with_its_chain(
    home: Home, folder: Path, tmp_path: Path, organisation: Authority
) -> None:
    middle = tmp_path / "middle"
    ca(home, "create", "--signed-by", *map(str, as_files(organisation)), folder=middle)
    both = str(middle / "mitmproxy-ca.pem")
    assert ca(home, "create", "--from", both, both, folder=folder).exit_code == 0
    assert verify(folder, organisation.path, tmp_path) == ""
    found = authority.read_authority(folder)
    assert [each.subject.rfc4514_string() for each in found.chain] == [
        "CN=organisation (throw-away)"
    ]


def test_ca_create_asks_for_the_passphrase_of_a_key(
    home: Home, folder: Path, tmp_path: Path
) -> None:
    files = tuple(map(str, self_signed(tmp_path, passphrase=b"open sesame")))
    wrong = ca(home, "create", "--from", *files, folder=folder, text="wrong\n")
    assert wrong.exit_code == 1
    assert "passphrase is wrong" in wrong.output
    right = ca(home, "create", "--from", *files, folder=folder, text="open sesame\n")
    assert right.exit_code == 0, right.output
    assert "open sesame" not in right.output
    authority.read_authority(folder)


# Refusing


def test_ca_create_never_overwrites_files(
    home: Home, folder: Path, organisation: Authority
) -> None:
    ca(home, "create", folder=folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    files = map(str, as_files(organisation))
    for words in ((), ("--from", *files)):
        again = ca(home, "create", *words, folder=folder)
        assert again.exit_code == 1
        assert "exists already" in again.output
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_ca_create_refuses_files_without_a_matching_key_and_certificate(
    home: Home, folder: Path, tmp_path: Path, organisation: Authority
) -> None:
    mine = self_signed(tmp_path)
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    cases = {
        "does not belong to the first certificate": (mine[0], organisation.path),
        "no private key": (mine[1], mine[1]),
        "no certificate": (mine[0], nonsense),
    }
    for why, files in cases.items():
        for option in ("--from", "--signed-by"):
            result = ca(home, "create", option, *map(str, files), folder=folder)
            assert result.exit_code == 1
            assert why in result.output
    assert not folder.exists()


@pytest.mark.parametrize(
    ("option", "arguments", "why"),
    [
        ("--from", {"is_ca": False}, "not for a CA"),
        ("--from", {"days": -1}, "expired on"),
        ("--signed-by", {"days": -1}, "expired on"),
        ("--signed-by", {"length": 0}, "must not sign another CA"),
    ],
)
def test_ca_create_refuses_certificates_that_cannot_act_as_a_ca(
    home: Home, folder: Path, tmp_path: Path, option: str, arguments: dict[str, int], why: str
) -> None:
    files = self_signed(tmp_path, **arguments)  # type: ignore[arg-type]
    result = ca(home, "create", option, *map(str, files), folder=folder)
    assert result.exit_code == 1
    assert why in result.output
    assert not folder.exists()


def test_ca_create_refuses_from_together_with_signed_by(
    home: Home, folder: Path, tmp_path: Path
) -> None:
    files = tuple(map(str, self_signed(tmp_path)))
    result = ca(home, "create", "--from", *files, "--signed-by", *files, folder=folder)
    assert result.exit_code == 2


@pytest.mark.parametrize("word", ["show", "trust", "bundle"])
def test_ca_commands_tell_how_to_create_a_missing_ca(home: Home, folder: Path, word: str) -> None:
    result = ca(home, word, folder=folder)
    assert result.exit_code == 1
    assert "aibridge ca create" in result.output


def test_unreadable_ca_is_an_authority_error(folder: Path) -> None:
    folder.mkdir()
    (folder / "mitmproxy-ca.pem").mkdir()
    with pytest.raises(AuthorityError, match="cannot be read"):
        authority.read_authority(folder)


# Distributing


def test_ca_trust_prints_commands_for_every_system(home: Home, folder: Path) -> None:
    ca(home, "create", folder=folder)
    shown = ca(home, "trust", folder=folder).output
    for part in ("update-ca-certificates", "update-ca-trust", "security add", "certutil"):
        assert part in shown
    assert str(folder / "mitmproxy-ca-cert.pem") in shown


def test_ca_bundle_prints_the_path_of_the_joined_bundle(home: Home, folder: Path) -> None:
    ca(home, "create", folder=folder)
    path = Path(ca(home, "bundle", folder=folder).output.strip())
    assert path == home.data / "ca-bundle.pem"
    assert path.read_bytes().endswith((folder / "mitmproxy-ca-cert.pem").read_bytes())


def test_ca_show_uses_the_running_proxy_by_default(shared: Home) -> None:
    assert shared.proxy().ca in shared.invoke("ca", "show").output


def test_proxy_reports_a_folder_that_lacks_a_file_and_cannot_be_written_to(
    home: Home, confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copied"
    folder.mkdir()
    shutil.copy(confdir / "mitmproxy-ca.pem", folder)
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder)  # root may write
    ports = ("--port", "0", "--reverse-port", "0", "--metrics", "off")
    result = home.invoke("proxy", *ports, "--set", f"confdir={folder}")
    assert result.exit_code == 1
    missing = folder / "mitmproxy-dhparam.pem"
    assert f"{missing} does not exist, and {folder} cannot be written to" in result.stderr
