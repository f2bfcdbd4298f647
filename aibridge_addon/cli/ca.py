"""`aibridge ca`: where the CA is, how to make one, and how to have it trusted. Shows no key."""

import getpass
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
    help="mitmproxy's folder. Default: that of the running proxy, else ~/.mitmproxy.",
)


@click.group(short_help="Show, make and hand out the proxy's CA.")
def command() -> None:
    """Show, make and hand out the proxy's CA.

    To read a client's TLS, the forward proxy shows certificates that it makes for the providers'
    hosts and signs by this CA. Whoever has its key can read the traffic of everybody who trusts it:
    the key stays with the proxy, and no command here prints it.
    """


@command.command(short_help="Where it is, whose, until when.")
@_folder_option
def show(confdir: Path | None) -> None:
    """Show where the CA is, whose it is, until when, and its fingerprint."""
    from aibridge_addon.cli.authority import AuthorityError, certificate_path, read_authority

    folder = folder_of(confdir)
    try:
        authority = read_authority(folder)
    except AuthorityError as error:
        hint = "" if any(folder.glob("mitmproxy-ca*")) else "; make one: aibridge ca create"
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


@command.command(short_help="Make one, or take one over.")
@_folder_option
@click.option("--name", help="What clients will see. Default: of your user name.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=_DAYS,
    metavar="DAYS",
    help=f"How long it is good for. Default: {_DAYS}.",
)
@click.option(
    "--from",
    "source",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY CERT",
    help="Take an organisation's CA over: files in PEM. CERT may hold the chain above it.",
)
@click.option(
    "--signed-by",
    "signer",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY CERT",
    help="Make one that an organisation's CA signs, whose files in PEM these are.",
)
def create(
    *,
    confdir: Path | None,
    name: str | None,
    days: int,
    source: tuple[Path, Path] | None,
    signer: tuple[Path, Path] | None,
) -> None:
    """Make a CA for the proxy, in mitmproxy's folder. Nothing is overwritten.

    Without options it signs itself, as one person on one machine needs it; the proxy would also
    make one at its first start. With --signed-by, clients that trust your organisation's CA trust
    this one as it is. The passphrase of an encrypted key is asked for.
    """
    if source and signer:
        raise click.UsageError("--from and --signed-by exclude each other")
    from aibridge_addon.cli import authority

    folder = folder_of(confdir)
    name = name or f"{getpass.getuser()}'s aibridge CA"

    def make(passphrase: bytes | None) -> "Authority":
        if source:
            return authority.take_over(
                folder, key=source[0], certificate=source[1], passphrase=passphrase
            )
        if signer:
            return authority.make_intermediate(
                folder,
                name=name,
                days=days,
                signer_key=signer[0],
                signer_certificate=signer[1],
                passphrase=passphrase,
            )
        return authority.make_authority(folder, name=name, days=days)

    made = _with_passphrase(make)
    click.echo(f"{authority.key_path(folder)}   key and certificate: for the proxy alone")
    click.echo(f"{authority.certificate_path(folder)}   certificate: for clients, no secret")
    click.echo(f"valid until {made.expires:%Y-%m-%d}, SHA-256 {made.fingerprint}")


def _with_passphrase(make: "Callable[[bytes | None], Authority]") -> "Authority":
    from aibridge_addon.cli.authority import AuthorityError, PassphraseError

    try:
        try:
            return make(None)
        except PassphraseError:
            return make(click.prompt("Passphrase of the key", hide_input=True, err=True).encode())
    except AuthorityError as error:
        raise click.ClickException(str(error)) from error


@command.command(short_help="How to have it trusted.")
@_folder_option
def trust(confdir: Path | None) -> None:
    """Print how programs, or the whole system, are made to trust the CA. Changes nothing."""
    click.echo(_TRUST.format(ca=_existing(folder_of(confdir))))


@command.command(short_help="Write the joined bundle, and print where it is.")
@_folder_option
def bundle(confdir: Path | None) -> None:
    """Write the system's certificates and the CA into one file, and print its path.

    It is for variables that replace the system's certificates, such as SSL_CERT_FILE.
    """
    from aibridge_addon.cli.bundle import join_bundle

    ca = _existing(folder_of(confdir))
    try:
        click.echo(join_bundle(ca))
    except OSError as error:
        raise click.ClickException(str(error)) from error


def folder_of(confdir: Path | None) -> Path:
    """Return the folder of the CA that is meant."""
    if confdir is None and (proxy := running.find()):
        return Path(proxy.ca).parent
    return (confdir or _CONFDIR).expanduser().absolute()


def _existing(folder: Path) -> Path:
    from aibridge_addon.cli.authority import certificate_path

    path = certificate_path(folder)
    if not path.exists():
        raise click.ClickException(f"there is no {path}; make one: aibridge ca create")
    return path


_TRUST = """\
One program, or one shell: nothing is changed for anybody else
  aibridge run -- PROGRAM …
  eval "$(aibridge env)"

The whole machine: only where that will not do. Many programs, such as Node and Python's certifi,
bring their own certificates, and need their variable all the same.

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
  Windows, in a console of an administrator
    certutil -addstore -f Root {ca}

Hand out this file alone, and its fingerprint (aibridge ca show) by another way. {ca}
holds no key."""
