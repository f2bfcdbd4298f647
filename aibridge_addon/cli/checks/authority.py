"""Checks the CA: its files, its validity and the permissions of its key."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.checks.wording import count
from aibridge_addon.findings import Finding

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from aibridge_addon.cli.authority import Authority

FEW_DAYS = 30


def check_authority(installation: Installation) -> Iterator[Finding]:
    """Check the CA in mitmproxy's folder."""
    from aibridge_addon.cli.authority import (
        AuthorityError,
        certificate_path,
        key_path,
        read_authority,
    )

    folder = installation.ca_folder
    key, certificate = key_path(folder), certificate_path(folder)
    if not key.exists() and not certificate.exists():
        to_do = "aibridge ca create; the proxy also creates one at its first start"
        yield Finding(about="CA", level="note", what=f"there is no CA in {folder}", to_do=to_do)
        return
    try:
        authority = read_authority(folder)
    except AuthorityError as error:
        to_do = "repair it, or move it away and create another (aibridge ca create)"
        yield Finding(about="CA", level="bad", what=str(error), to_do=to_do)
        return
    yield _validity(authority, certificate)
    if not _contains(certificate, authority.certificate):
        what = f"{certificate} is not the certificate of the key"
        to_do = f"copy the certificates in {key} into it"
        yield Finding(about="CA", level="bad", what=what, to_do=to_do)
    yield from _permissions(key)


def _validity(authority: "Authority", certificate: Path) -> Finding:
    days = authority.days_left()
    if days >= FEW_DAYS:
        what = f"{certificate}, valid until {authority.expires:%Y-%m-%d}"
        return Finding(about="CA", level="ok", what=what)
    to_do = "create the next one in another folder: aibridge ca create --confdir FOLDER"
    if days >= 0:
        what = f"expires in {count(days, 'day')}"
        return Finding(about="CA", level="note", what=what, to_do=to_do)
    return Finding(about="CA", level="bad", what="its chain has expired", to_do=to_do)


def _contains(path: Path, certificate: "Certificate") -> bool:
    from cryptography import x509

    try:
        return certificate in x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return False


def _permissions(key: Path) -> Iterator[Finding]:
    if os.name != "posix":
        return
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o077:
        what = f"other users can read the key (mode {mode:04o})"
        yield Finding(about="CA", level="bad", what=what, to_do=f"chmod 600 {key}")
