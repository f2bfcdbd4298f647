"""The option `--mine`: limits a command to the owner of the access token in `AIBRIDGE_LOGIN`."""

import os

import click

from aibridge_addon.access.tokens import TokenError, authenticate
from aibridge_addon.cli.connection import token_of_login
from aibridge_addon.cli.databases import open_tokens
from aibridge_addon.store.errors import StoreError

mine_option = click.option(
    "--mine",
    is_flag=True,
    help="Only your own: of the owner of the access token in AIBRIDGE_LOGIN.",
)


def own_name(db: str | None) -> str:
    """Return the owner of the access token in `AIBRIDGE_LOGIN`, by the name in the token.

    Raises:
        ClickException: the variable is not set, or its access token is not valid.
    """
    login = os.environ.get("AIBRIDGE_LOGIN")
    text = token_of_login(login)
    if login and not text:
        raise click.ClickException("AIBRIDGE_LOGIN contains no access token; they begin with aib_")
    if not text:
        raise click.ClickException(
            "--mine needs to know who you are: set AIBRIDGE_LOGIN to your access token"
        )
    try:
        return authenticate(text, open_tokens(db).access_tokens()).initiator_id
    except (StoreError, TokenError) as error:
        raise click.ClickException(str(error)) from error
