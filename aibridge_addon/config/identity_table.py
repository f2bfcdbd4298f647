"""The table `[identity]` of the config file: issuers of JWTs, and revoked actors."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Self
from urllib.parse import urlsplit

import pydantic

from aibridge_addon.access.jwt.issuer import DEFAULT_ALGORITHMS, Algorithm, JWTIssuer
from aibridge_addon.addresses import literal
from aibridge_addon.config.validation import TABLE

type _Text = Annotated[str, pydantic.StringConstraints(min_length=1, max_length=1024)]


def _check_jwks_url(value: str) -> str:
    url = urlsplit(value)
    host = url.hostname
    _ = url.port  # raises `ValueError` if it is not a port
    if not host or url.username or url.password or url.fragment or not value.isprintable():
        raise ValueError("must be a URL such as https://login.example.com/keys")
    address = literal(host)
    is_local = host == "localhost" or (address is not None and address.is_loopback)
    if url.scheme != "https" and not (url.scheme == "http" and is_local):
        raise ValueError(
            "must be https: whoever can change the keys on their way can sign in as anyone"
        )
    return value


class ClaimsTable(pydantic.BaseModel):
    """Names of claims."""

    model_config = TABLE

    actor: _Text = "sub"
    teams: _Text | None = None


class JWTTable(pydantic.BaseModel):
    """An issuer of JWTs, `[[identity.jwt]]`."""

    model_config = TABLE

    issuer: _Text
    audience: _Text | Annotated[list[_Text], pydantic.Field(min_length=1)]
    jwks_url: Annotated[str, pydantic.AfterValidator(_check_jwks_url)]
    algorithms: Annotated[list[Algorithm], pydantic.Field(min_length=1)] = list(DEFAULT_ALGORITHMS)
    claims: ClaimsTable = ClaimsTable()
    teams: dict[_Text, _Text] = {}

    @pydantic.model_validator(mode="after")
    def _has_both_or_none(self) -> Self:
        if bool(self.claims.teams) != bool(self.teams):
            raise ValueError(
                "claims.teams names the claim, and teams maps its values to teams; give both"
            )
        return self

    def jwt_issuer(self) -> JWTIssuer:
        """Return the issuer."""
        audience = self.audience
        return JWTIssuer(
            issuer=self.issuer,
            audiences=(audience,) if isinstance(audience, str) else tuple(audience),
            jwks_url=self.jwks_url,
            algorithms=tuple(self.algorithms),
            actor_claim=self.claims.actor,
            teams_claim=self.claims.teams,
            teams=self.teams,
        )


class IdentityTable(pydantic.BaseModel):
    """Proofs of identity, `[identity]`."""

    model_config = TABLE

    revoked_actors: list[_Text] = []
    jwt: list[JWTTable] = []


def issuer_conflicts(tables: Sequence[JWTTable]) -> Iterator[str]:
    """Yield a mistake for each issuer that two tables have."""
    names = [table.issuer for table in tables]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"identity.jwt[{index}].issuer is {name!r} again; write one table per issuer"
