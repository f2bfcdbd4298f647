"""The people: what they spent, with which clients, and their access tokens with the last use."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aibridge_addon.access.tokens import AccessToken, is_valid
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import PersonRow
from aibridge_addon.web.access import Viewer
from aibridge_addon.web.filters import PERIODS, Filters, read_filters
from aibridge_addon.web.site import Site, site_of, viewer_of_request


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """An access token with its use in the period."""

    token: AccessToken
    state: str
    figures: Figures | None
    """None: not used in the period."""


async def people(request: Request) -> Response:
    """Show the people."""
    site, viewer = site_of(request), viewer_of_request(request)
    filters = read_filters(request.query_params, site.now(), "30d")
    await site.tokens.refresh()
    values = await run_in_threadpool(_read, site, viewer, filters)
    shared = {"filters": filters, "periods": PERIODS}
    return site.render(request, "people.html", shared | values)


def _read(site: Site, viewer: Viewer, filters: Filters) -> dict[str, Any]:
    found = site.reports.people(filters.query(viewer, site.now(), limit=None))
    tokens: dict[str, list[AccessToken]] = {}
    for token in site.tokens.all():
        if viewer.may_see(actor := site.actor_of(token.initiator_id)):
            tokens.setdefault(actor, []).append(token)
    used = [(person, list(token_rows(person, tokens.pop(person.actor, ())))) for person in found]
    unused = [_row(token, None) for of_actor in tokens.values() for token in of_actor]
    return {"people": used, "unused": unused}


def token_rows(person: PersonRow, tokens: Iterable[AccessToken]) -> Iterable[TokenRow]:
    """Yield the access tokens of a person, newest first."""
    used = {use.id: use.figures for use in person.tokens}
    for token in sorted(tokens, key=lambda token: token.created_at, reverse=True):
        yield _row(token, used.get(token.id))


def _row(token: AccessToken, figures: Figures | None) -> TokenRow:
    state = "valid" if is_valid(token) else "revoked" if token.revoked_at else "expired"
    return TokenRow(token=token, state=state, figures=figures)
