"""The joined bundle: the system's certificates and our CA's, for variables that replace the former.

With the bare CA in `SSL_CERT_FILE`, a client would trust the proxy and nobody else: neither the
hosts that are tunnelled nor, at a base URL, the rest of the world.
"""

import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

import certifi

from aibridge_addon.observe.announcement import data_folder

_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older ones
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def bundle_path() -> Path:
    """Return where the joined bundle is."""
    return data_folder() / "ca-bundle.pem"


def system_bundle(ca: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return what programs of this shell trust without us: their own choice, the system's, certifi.

    macOS keeps an organisation's certificates in the keychain; those are not in it.
    """
    usual = ssl.get_default_verify_paths().openssl_cafile
    for candidate in (environ.get("SSL_CERT_FILE"), *_SYSTEM, usual):
        if candidate and (path := Path(candidate)).is_file() and not _is_ours(path, ca):
            return path
    return Path(certifi.where())


def join_bundle(ca: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the joined bundle, if it is not as it should be, and return its path.

    Raises:
        OSError: a file cannot be read or written.
    """
    sources = [system_bundle(ca, environ)]
    if (extra := own_extra(ca, environ)) is not None:
        sources.append(extra)
    joined = b"\n".join(source.read_bytes().strip() for source in (*sources, ca)) + b"\n"
    path = bundle_path()
    if not path.is_file() or path.read_bytes() != joined:
        _replace(path, joined)
    return path


def own_extra(ca: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return what this shell lets Node trust besides, if that is neither our CA nor our bundle."""
    value = environ.get("NODE_EXTRA_CA_CERTS")
    path = Path(value) if value else None
    if path is None or not path.is_file() or _is_ours(path, ca):
        return None
    return path if _BEGIN in path.read_bytes() else None


def _is_ours(path: Path, ca: Path) -> bool:
    return any(ours.exists() and path.samefile(ours) for ours in (ca, bundle_path()))


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place at once: programs may read it at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
