"""Decides who is looking at the page, and which records they may see. Closed by default.

An access token is checked again at every request, so that a revoked or expired one signs out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from aibridge_addon.access.token_cache import TokenCache
from aibridge_addon.access.tokens import AccessToken, TokenError, check_valid
from aibridge_addon.web.sessions import Session, Sessions

OPEN_PATHS = frozenset({"/login", "/link", "/static/style.css", "/static/page.js", "/favicon.ico"})
"""Paths that need no login. Everything else does, also what a later version adds."""
COOKIE = "aibridge_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A person who is signed in."""

    name: str
    actor: str | None
    """The actor whose records they may see; None: all records."""

    @property
    def sees_all(self) -> bool:
        """True if they may see the records of all actors."""
        return self.actor is None

    def may_see(self, actor: str) -> bool:
        """Return True if they may see the records of an actor."""
        return self.actor is None or self.actor == actor


OPERATOR = Viewer(name="operator", actor=None)


type ActorOf = Callable[[str], str]
"""Returns the actor as which the owner of an access token is recorded; called on a thread."""


def viewer_of(token: AccessToken, actor_of: ActorOf = str) -> Viewer:
    """Return the viewer that an access token identifies."""
    name = token.initiator_id
    return Viewer(name=name, actor=None if token.admin else actor_of(name))


class Doorkeeper:
    """Finds the viewer of a request by its cookie."""

    def __init__(self, sessions: Sessions, tokens: TokenCache, actor_of: ActorOf) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._actor_of = actor_of

    async def find(self, connection: HTTPConnection) -> Viewer | None:
        """Return the viewer; None without a valid session."""
        session_id = connection.cookies.get(cookie_name(connection), "")
        session = self._sessions.find(session_id)
        viewer = await self._viewer(session) if session else None
        if session and viewer is None:
            self._sessions.end(session_id)
        return viewer

    async def sign_in(self, text: str) -> str:
        """Start a session for an access token; return its id.

        Raises:
            TokenError: the access token is unknown, revoked or expired.
        """
        token = await self._tokens.authenticate(text.strip())
        return self._sessions.start(token.id)

    def sign_in_operator(self) -> str:
        """Start a session of the operator; return its id."""
        return self._sessions.start(None)

    def sign_out(self, connection: HTTPConnection) -> None:
        """End the session of a request."""
        self._sessions.end(connection.cookies.get(cookie_name(connection), ""))

    async def _viewer(self, session: Session) -> Viewer | None:
        if session.token_id is None:
            return OPERATOR
        await self._tokens.refresh()
        try:
            token = self._tokens.by_id(session.token_id)
            check_valid(token)
        except (KeyError, TokenError):
            return None
        return await run_in_threadpool(viewer_of, token, self._actor_of)


def cookie_name(connection: HTTPConnection) -> str:
    """Return the cookie's name: browsers share cookies between the ports of a host."""
    return f"{COOKIE}_{connection.url.port or 0}"


def set_cookie(connection: HTTPConnection, response: Response, session_id: str) -> None:
    """Give a browser its session."""
    response.set_cookie(
        cookie_name(connection),
        session_id,
        httponly=True,
        samesite="strict",
        secure=connection.url.scheme == "https",
    )


class RequireLogin:
    """ASGI middleware: answers requests without a viewer; sets `request.state.viewer` otherwise."""

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper) -> None:
        self._app = app
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        viewer = await self._doorkeeper.find(connection)
        if viewer is None:
            await _login_needed(connection)(scope, receive, send)
            return
        scope.setdefault("state", {})["viewer"] = viewer
        await self._app(scope, receive, send)


def _login_needed(connection: HTTPConnection) -> Response:
    if "text/html" not in connection.headers.get("accept", ""):
        return PlainTextResponse("Sign in at /login.\n", 401)
    target = connection.url.path + (f"?{connection.url.query}" if connection.url.query else "")
    return RedirectResponse(f"/login?{urlencode({'next': target})}", 303)
