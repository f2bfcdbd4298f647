"""`Site`: what all pages share, and the rendering of a template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from aibridge_addon.access.token_cache import TokenCache
from aibridge_addon.access.tokens import TokenSource
from aibridge_addon.budgets.accounts import Account
from aibridge_addon.findings import Finding
from aibridge_addon.report.protocol import Reports
from aibridge_addon.web.access import ActorOf, Doorkeeper, Viewer
from aibridge_addon.web.links import Links
from aibridge_addon.web.rendering import environment
from aibridge_addon.web.sessions import Sessions
from aibridge_addon.web.streams import Streams

type ReadBudgets = Callable[[str | None], Sequence[Account]]
"""Returns the budgets of the owner of an access token, by name, or of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that a page may use."""

    reports: Reports
    tokens: TokenCache
    doorkeeper: Doorkeeper
    links: Links
    templates: Environment
    inspect: Callable[[], Sequence[Finding]]
    """Returns the state of the proxy and of the store; called on a thread."""
    read_budgets: ReadBudgets
    """Called on a thread."""
    actor_of: ActorOf

    streams: Streams = field(default_factory=Streams)

    def now(self) -> datetime:
        """Return the time that periods are relative to."""
        return datetime.now(UTC)

    def render(
        self,
        request: Request,
        template: str,
        values: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> Response:
        """Return a template as a response."""
        shared = {"viewer": getattr(request.state, "viewer", None), "path": request.url.path}
        text = self.templates.get_template(template).render(shared | dict(values or {}))
        # Recorded JSON may contain half surrogates, which cannot be encoded.
        return HTMLResponse(text.encode("utf-8", "replace"), status)

    def message(self, request: Request, title: str, text: str, status: int) -> Response:
        """Return a page with a message."""
        return self.render(request, "message.html", {"title": title, "text": text}, status)

    def not_found(self, request: Request, text: str) -> Response:
        """Return a page that says what does not exist."""
        return self.message(request, "Not found", text, 404)


def make_site(
    reports: Reports,
    source: TokenSource,
    *,
    secret: bytes,
    inspect: Callable[[], Sequence[Finding]] = tuple,
    read_budgets: ReadBudgets = lambda name: (),
    actor_of: ActorOf = str,
) -> Site:
    """Return a site without sessions.

    Args:
        reports: The reports on the records.
        source: Reads the access tokens.
        secret: Signs one-time links.
        inspect: Returns the state of the proxy and of the store.
        read_budgets: Returns the budgets of the owner of an access token, or of all.
        actor_of: Returns the actor as which the owner of an access token is recorded.
    """
    tokens = TokenCache(source)
    return Site(
        reports=reports,
        tokens=tokens,
        doorkeeper=Doorkeeper(Sessions(), tokens, actor_of),
        links=Links(secret),
        templates=environment(),
        inspect=inspect,
        read_budgets=read_budgets,
        actor_of=actor_of,
    )


def site_of(request: Request) -> Site:
    """Return the site of a request."""
    site: Site = request.app.state.site
    return site


def viewer_of_request(request: Request) -> Viewer:
    """Return the viewer of a request that needed a login."""
    viewer: Viewer = request.state.viewer
    return viewer
