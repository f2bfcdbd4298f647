"""The joined bundle: the system's certificates and our CA in one file.

It is for variables that replace the system's certificates. With only the CA in `SSL_CERT_FILE`, a
client would trust no host except the intercepted ones.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import certifi

from aibridge_addon.observe.announcement import data_folder
from aibridge_addon.replaced_files import replace_file

_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older ones
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def bundle_path() -> Path:
    """Return the path of the joined bundle."""
    return data_folder() / "ca-bundle.pem"


def system_bundle(ca: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the certificates that programs trust without the proxy.

    These are the file in `SSL_CERT_FILE`, the system's or certifi's. On macOS, certificates in the
    keychain are not included.
    """
    usual = ssl.get_default_verify_paths().openssl_cafile
    for candidate in (environ.get("SSL_CERT_FILE"), *_SYSTEM, usual):
        if candidate and (path := Path(candidate)).is_file() and not _is_ours(path, ca):
            return path
    return Path(certifi.where())


def join_bundle(ca: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the joined bundle if it is missing or outdated; return its path.

    Raises:
        OSError: a file cannot be read or written.
    """
    sources = [system_bundle(ca, environ)]
    if (extra := own_extra(ca, environ)) is not None:
        sources.append(extra)
    joined = b"\n".join(source.read_bytes().strip() for source in (*sources, ca)) + b"\n"
    path = bundle_path()
    if not path.is_file() or path.read_bytes() != joined:
        replace_file(path, joined, mode=0o644)
    return path


def own_extra(ca: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file in `NODE_EXTRA_CA_CERTS`; None if it is our CA, our bundle or missing."""
    value = environ.get("NODE_EXTRA_CA_CERTS")
    path = Path(value) if value else None
    if path is None or not path.is_file() or _is_ours(path, ca):
        return None
    return path if _BEGIN in path.read_bytes() else None


def _is_ours(path: Path, ca: Path) -> bool:
    return any(ours.exists() and path.samefile(ours) for ours in (ca, bundle_path()))
