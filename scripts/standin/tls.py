"""A throw-away certificate authority. Only for tests: its key is not protected."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DEFAULT_NAMES = ("127.0.0.1", "::1", "localhost", "api.anthropic.com", "api.openai.com")


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA and the paths of its files."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    path: Path
    """The CA certificate, PEM: what clients must trust."""

    @property
    def key_path(self) -> Path:
        """The CA's key and certificate in one PEM, as mitmproxy's `mitmproxy-ca.pem` wants them."""
        return self.path.with_name(f"{self.path.stem}-with-key.pem")

    def server_context(self, names: Iterable[str] = DEFAULT_NAMES) -> ssl.SSLContext:
        """Return a context for a server of these host names and addresses."""
        pem = self._issue(tuple(names))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a context for a client that trusts this CA alone."""
        return ssl.create_default_context(cafile=str(self.path))

    def _issue(self, names: tuple[str, ...]) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(names[0], self.certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        path = self.path.with_name(f"server-{certificate.serial_number:x}.pem")
        path.write_bytes(_pem(key) + _pem(certificate))
        return path


def make_authority(directory: Path, name: str = "standin-ca") -> Authority:
    """Make a CA, leaving `<name>.pem` and `<name>-with-key.pem` in the directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} (throw-away)")])
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        _builder(f"{name} (throw-away)", subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    authority = Authority(key, certificate, directory / f"{name}.pem")
    authority.path.write_bytes(_pem(certificate))
    authority.key_path.write_bytes(_pem(key) + _pem(certificate))
    return authority


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=30))
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(thing: ec.EllipticCurvePrivateKey | x509.Certificate) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    return thing.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
