"""The CA in mitmproxy's folder: reads, creates and imports it.

`mitmproxy-ca.pem` has the key, its certificate and the chain, as mitmproxy expects. The file for
clients is beside it, without the key. Nothing is ever overwritten, and a key is never shown.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
    PrivateKeyTypes,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_NAME = "mitmproxy-ca.pem"
CERTIFICATE_NAME = "mitmproxy-ca-cert.pem"
_BACKDATED = timedelta(days=2)
"""Tolerance for clients whose clocks are behind."""

type Key = ec.EllipticCurvePrivateKey


class AuthorityError(Exception):
    """A CA cannot be used or created; the message states the file and the reason."""


class PassphraseError(AuthorityError):
    """A key is encrypted, and the passphrase is missing or wrong."""


def key_path(folder: Path) -> Path:
    """Return the path of the key."""
    return folder / KEY_NAME


def certificate_path(folder: Path) -> Path:
    """Return the path of the certificate that clients must trust."""
    return folder / CERTIFICATE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA with its chain."""

    folder: Path
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    """Issuers above the certificate, nearest first; empty if the CA signed itself."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in the notation that browsers show."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def expires(self) -> datetime:
        """Time when the first certificate, among the CA and its chain, expires."""
        return min(each.not_valid_after_utc for each in (self.certificate, *self.chain))

    def days_left(self) -> int:
        """Return the number of full days until the CA expires."""
        return (self.expires - datetime.now(UTC)).days


def read_authority(folder: Path) -> Authority:
    """Read the CA of a folder, and check it.

    Raises:
        AuthorityError: it does not exist, or cannot be used.
    """
    path = key_path(folder)
    key, certificates = _read_key(path), _read_certificates(path)
    _check_pair(key, certificates[0], str(path))
    return Authority(folder=folder, certificate=certificates[0], chain=tuple(certificates[1:]))


def make_authority(folder: Path, *, name: str, days: int) -> Authority:
    """Create a CA that signs itself.

    Raises:
        AuthorityError: a CA exists already, or the folder is not writable.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, subject, key, days)
    return _install(folder, key, [builder.sign(key, hashes.SHA256())])


def make_intermediate(
    folder: Path,
    *,
    name: str,
    days: int,
    signer_key: Path,
    signer_certificate: Path,
    passphrase: bytes | None = None,
) -> Authority:
    """Create a CA that another CA signs; the file of its certificate may contain its chain.

    Raises:
        AuthorityError: the signer cannot be used, or a CA exists already.
        PassphraseError: the signer's key is encrypted.
    """
    parent_key = _read_key(signer_key, passphrase)
    parents = _read_certificates(signer_certificate)
    _check_pair(parent_key, parents[0], str(signer_certificate))
    _check_may_sign(parents[0], signer_certificate)
    ends = min(parent.not_valid_after_utc for parent in parents)
    days = min(days, (ends - datetime.now(UTC)).days)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(name), parents[0].subject, key, days)
    builder = builder.add_extension(_key_id_of(parents[0]), critical=False)
    hash_ = None if _has_own_hash(parent_key) else hashes.SHA256()
    certificate = builder.sign(_signing(parent_key), hash_)
    return _install(folder, key, [certificate, *parents])


def import_authority(
    folder: Path, *, key: Path, certificate: Path, passphrase: bytes | None = None
) -> Authority:
    """Install an existing CA: its key, its certificate, and the chain in the certificate's file.

    Raises:
        AuthorityError: it cannot be used, or a CA exists already.
        PassphraseError: the key is encrypted.
    """
    certificates = _read_certificates(certificate)
    private = _read_key(key, passphrase)
    _check_pair(private, certificates[0], str(certificate))
    return _install(folder, private, certificates)


# Reading and checking


def _read_bytes(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except FileNotFoundError:
        raise AuthorityError(f"{path} does not exist") from None
    except OSError as error:
        raise AuthorityError(f"{path} cannot be read: {error.strerror}") from error


def _read_key(path: Path, passphrase: bytes | None = None) -> PrivateKeyTypes:
    content = _read_bytes(path)
    try:
        return serialization.load_pem_private_key(content, passphrase)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        if b"ENCRYPTED" in content:
            wrong = "the passphrase is wrong" if passphrase else "it is encrypted"
            raise PassphraseError(f"the key in {path} cannot be read: {wrong}") from None
        raise AuthorityError(f"{path} contains no private key in PEM format") from None


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read_bytes(path))
    except ValueError:
        raise AuthorityError(f"{path} contains no certificate in PEM format") from None


def _check_pair(key: PrivateKeyTypes, certificate: x509.Certificate, where: str) -> None:
    if _public_bytes(key.public_key()) != _public_bytes(certificate.public_key()):  # type: ignore[arg-type]
        raise AuthorityError(
            f"{where}: the key does not belong to the first certificate; check the order"
        )
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise AuthorityError(f"{where}: the certificate is not for a CA")
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise AuthorityError(f"{where}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > now:
        raise AuthorityError(
            f"{where}: not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
        )


def _check_may_sign(certificate: x509.Certificate, path: Path) -> None:
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.path_length == 0:
        raise AuthorityError(f"{path}: this CA must not sign another CA (its path length is 0)")


def _public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def signs(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return True if `issuer` has signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


# Creating


def _subject(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise AuthorityError(f"the name {name!r} cannot be used: {error}") from error


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    )
    usage = x509.KeyUsage(**dict.fromkeys(names, False), key_cert_sign=True, crl_sign=True)
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(server, critical=False)
        .add_extension(key_id, critical=False)
    )


def _key_id_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _signing(key: PrivateKeyTypes) -> CertificateIssuerPrivateKeyTypes:
    return key  # type: ignore[return-value]  # the key of a CA


def _has_own_hash(key: PrivateKeyTypes) -> bool:
    return type(key).__name__.startswith(("Ed25519", "Ed448"))


# Installing


def _install(
    folder: Path, key: PrivateKeyTypes, certificates: Sequence[x509.Certificate]
) -> Authority:
    folder = folder.expanduser().absolute()
    both, public = key_path(folder), certificate_path(folder)
    for path in (both, public):
        if path.exists():
            raise AuthorityError(
                f"{path} exists already, and clients may trust it. Name another folder with"
                " --confdir, or move the file away"
            )
    own, chain = certificates[0], _in_order(certificates)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # With the chain: some clients trust the root already, others need all of it.
    pems = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (own, *chain))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(both, secret + pems, 0o600)
        _write_new(public, pems, 0o644)
    except OSError as error:
        raise AuthorityError(f"cannot write to {folder}: {error.strerror}") from error
    return Authority(folder=folder, certificate=own, chain=tuple(chain))


def _in_order(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return the chain above the first certificate, in order, from the certificates beside it."""
    chain: list[x509.Certificate] = []
    last, rest = certificates[0], _others(certificates[1:], but=certificates[0])
    while issuer := next((each for each in rest if signs(each, last)), None):
        chain.append(issuer)
        rest = _others(rest, but=issuer)
        last = issuer
    return chain


def _others(
    certificates: Iterable[x509.Certificate], but: x509.Certificate
) -> list[x509.Certificate]:
    return [each for each in certificates if each != but]


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
