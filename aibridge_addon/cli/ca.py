"""`aibridge ca`: shows and creates the CA, and tells how to trust it. No command prints a key."""

import getpass
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aibridge_addon.cli import running

if TYPE_CHECKING:
    from aibridge_addon.cli.authority import Authority

_CONFDIR = Path("~/.mitmproxy")
_DAYS = 1095

_folder_option = click.option(
    "--confdir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder of the CA. Default: the one of the running proxy, or ~/.mitmproxy.",
)


@click.group(short_help="Show, create and distribute the proxy's CA.")
def command() -> None:
    """Show, create and distribute the proxy's CA.

    To intercept TLS connections to providers, the forward proxy presents certificates that this CA
    signs. Anyone who has its key can read the traffic of everyone who trusts the CA: keep the key
    on the proxy's machine. No command prints it.
    """


@command.command(short_help="Show path, subject, validity and fingerprint.")
@_folder_option
def show(confdir: Path | None) -> None:
    """Show the CA's path, subject, issuer, validity and fingerprint."""
    from aibridge_addon.cli.authority import AuthorityError, certificate_path, read_authority

    folder = folder_of(confdir)
    try:
        authority = read_authority(folder)
    except AuthorityError as error:
        hint = "" if any(folder.glob("mitmproxy-ca*")) else "; create one: aibridge ca create"
        raise click.ClickException(f"{error}{hint}") from error
    certificate = authority.certificate
    click.echo(f"certificate   {certificate_path(folder)}")
    click.echo(f"subject       {certificate.subject.rfc4514_string()}")
    for issuer in authority.chain or [certificate] * (certificate.issuer != certificate.subject):
        name = issuer.subject if authority.chain else issuer.issuer
        click.echo(f"signed by     {name.rfc4514_string()}")
    left = authority.days_left()
    click.echo(f"valid until   {authority.expires:%Y-%m-%d} ({left:,} days)")
    click.echo(f"SHA-256       {authority.fingerprint}")


@command.command(short_help="Create a CA, or import one.")
@_folder_option
@click.option(
    "--name",
    help="Common name of the CA, such as 'Example Ltd AI proxy'. Default: from your user name.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=_DAYS,
    metavar="DAYS",
    help=f"Days until the CA expires. Default: {_DAYS}.",
)
@click.option(
    "--from",
    "source",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY CERT",
    help="Import a CA of your organisation: PEM files. CERT may contain its chain.",
)
@click.option(
    "--signed-by",
    "signer",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY CERT",
    help="Let a CA of your organisation sign the new one: PEM files of that CA.",
)
def create(
    *,
    confdir: Path | None,
    name: str | None,
    days: int,
    source: tuple[Path, Path] | None,
    signer: tuple[Path, Path] | None,
) -> None:
    """Create a CA for the proxy in mitmproxy's folder. Existing files are never overwritten.

    By default the CA signs itself, which is right for one person on one machine; the proxy also
    creates such a CA at its first start. With --signed-by, clients that trust your organisation's
    CA trust the new one without further setup. Asks for the passphrase of an encrypted key.
    """
    from aibridge_addon.cli.authority import certificate_path, key_path

    if source and signer:
        raise click.UsageError("--from and --signed-by cannot be used together")
    folder = folder_of(confdir)
    name = name or f"{getpass.getuser()}'s aibridge CA"
    made = _with_passphrase(
        lambda passphrase: _make(folder, name, days, source, signer, passphrase)
    )
    click.echo(f"{key_path(folder)}   key and certificate: for the proxy only")
    click.echo(f"{certificate_path(folder)}   certificate: for clients, not a secret")
    click.echo(f"valid until {made.expires:%Y-%m-%d}, SHA-256 {made.fingerprint}")
    if folder != _CONFDIR.expanduser():
        click.echo(
            f"start the proxy with it: aibridge proxy --set confdir={shlex.quote(str(folder))}"
        )


def _make(
    folder: Path,
    name: str,
    days: int,
    source: tuple[Path, Path] | None,
    signer: tuple[Path, Path] | None,
    passphrase: bytes | None,
) -> "Authority":
    """Create the kind of CA that the options ask for."""
    from aibridge_addon.cli.authority import import_authority, make_authority, make_intermediate

    if source:
        key, certificate = source
        return import_authority(folder, key=key, certificate=certificate, passphrase=passphrase)
    if signer:
        key, certificate = signer
        return make_intermediate(
            folder,
            name=name,
            days=days,
            signer_key=key,
            signer_certificate=certificate,
            passphrase=passphrase,
        )
    return make_authority(folder, name=name, days=days)


def _with_passphrase(make: "Callable[[bytes | None], Authority]") -> "Authority":
    """Create a CA; ask for the passphrase if a key turns out to be encrypted."""
    from aibridge_addon.cli.authority import AuthorityError, PassphraseError

    try:
        try:
            return make(None)
        except PassphraseError:
            return make(click.prompt("Passphrase of the key", hide_input=True, err=True).encode())
    except AuthorityError as error:
        raise click.ClickException(str(error)) from error


@command.command(short_help="Print how to trust the CA.")
@_folder_option
def trust(confdir: Path | None) -> None:
    """Print how to make programs, or the whole system, trust the CA. Changes nothing."""
    click.echo(_TRUST.format(ca=_existing(folder_of(confdir))))


@command.command(short_help="Write the joined bundle, and print its path.")
@_folder_option
def bundle(confdir: Path | None) -> None:
    """Write the system's certificates and the CA to one file, and print its path.

    Use it for variables that replace the system's certificates, such as SSL_CERT_FILE.
    """
    from aibridge_addon.cli.bundle import join_bundle

    ca = _existing(folder_of(confdir))
    try:
        click.echo(join_bundle(ca))
    except OSError as error:
        raise click.ClickException(str(error)) from error


def folder_of(confdir: Path | None) -> Path:
    """Return the given folder of the CA, the one of the running proxy, or the default."""
    if confdir is None and (proxy := running.find()):
        return Path(proxy.ca).parent
    return (confdir or _CONFDIR).expanduser().absolute()


def _existing(folder: Path) -> Path:
    from aibridge_addon.cli.authority import certificate_path

    path = certificate_path(folder)
    if not path.exists():
        raise click.ClickException(f"there is no {path}; create a CA: aibridge ca create")
    return path


_TRUST = """\
For one program, or one shell
  aibridge run -- PROGRAM …
  eval "$(aibridge env)"

For the whole machine, only if that is not enough. Many programs, such as Node and Python programs,
bring their own certificates and need their variable anyway.

  Debian, Ubuntu
    sudo cp {ca} /usr/local/share/ca-certificates/aibridge.crt
    sudo update-ca-certificates
  Fedora, RHEL
    sudo cp {ca} /etc/pki/ca-trust/source/anchors/aibridge.pem
    sudo update-ca-trust
  Arch
    sudo trust anchor {ca}
  macOS
    sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}
  Windows, as administrator
    certutil -addstore -f Root {ca}

Distribute only this file, and its fingerprint (aibridge ca show) through another channel. {ca}
contains no key."""
