"""Who may pass: access tokens, wherever a client may put one.

That is the header `X-AIBridge-Token`, the API key at the reverse proxy, or the password of a login
to the forward proxy, which is good for its connection. A token is taken out of the request: it
never goes on to anybody. Where mitmproxy's own `proxyauth` is set, its logins do as well.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import Mapping

from mitmproxy import connection, ctx, http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.mode_specs import RegularMode, ReverseMode, UpstreamMode

from aibridge_addon.access.proxyauth import uses_proxyauth
from aibridge_addon.access.runs import mark_of_login, split_path
from aibridge_addon.access.sender import Admission
from aibridge_addon.access.tokens import (
    AccessToken,
    TokenError,
    TokenSource,
    authenticate,
    checked_valid,
    find_token,
    looks_like_token,
)
from aibridge_addon.headers import Fields, lowered
from aibridge_addon.providers.credentials import (
    CREDENTIAL_FIELDS,
    TOKEN_HEADER,
    login_of,
    without_scheme,
)
from aibridge_addon.providers.routing import Router

logger = logging.getLogger(__name__)

FRESH_SECONDS = 0.5
"""How long what was read of the tokens is taken for true: a revoked one is good for so long."""
_BETWEEN_READINGS_SECONDS = 0.01
"""For tokens that are not known, each of which may be new; many of them must not cost much."""
_PROXY_AUTHORIZATION = "proxy-authorization"
_TOKEN_HEADER = TOKEN_HEADER.encode()
_OUR_FIELDS = frozenset({_TOKEN_HEADER, _PROXY_AUTHORIZATION.encode()})
_NO_TOKEN = (
    "this proxy asks for an access token: as the password in the proxy's URL, in the header"  # noqa: S105
    " X-AIBridge-Token or, at the reverse proxy, in place of the API key."
)
_NOT_A_KEY = (
    "an access token is no key of a provider. Give it as the password in the proxy's URL, or in"
    " the header X-AIBridge-Token."
)


class AdmissionControl:
    """Knows the tokens, and who logged in by which."""

    def __init__(self, source: TokenSource, rule: str) -> None:
        self.rule = rule
        self._source = source
        self._tokens: Mapping[str, AccessToken] = {}
        self._logins: weakref.WeakKeyDictionary[connection.Client, str] = (
            weakref.WeakKeyDictionary()
        )
        """Ids of tokens."""
        self._refused_logins: weakref.WeakKeyDictionary[connection.Client, TokenError] = (
            weakref.WeakKeyDictionary()
        )
        """RefusedEdits at CONNECT to a provider, whose requests are answered inside the tunnel."""
        self._runs: weakref.WeakKeyDictionary[connection.Client, str] = weakref.WeakKeyDictionary()
        """Marks of `aibridge run`."""
        self._read_at = 0.0
        """When the last reading began, on the monotonic clock."""
        self._reading: asyncio.Task[None] | None = None
        self._failed = False
        self._has_read = False
        """Whether the tokens have been read once; before, it is not known whether there are any."""
        self._take_in_tokens()

    @property
    def requires_token(self) -> bool:
        """Whether nobody passes without a token: by rule, or once there has been one."""
        may_ask = bool(self._tokens) or not self._has_read
        return self.rule == "always" or (self.rule == "auto" and may_ask)

    async def refresh(self, seconds: float = FRESH_SECONDS) -> None:
        """Read the tokens again, unless that was begun so few seconds ago; all share a reading."""
        not_before = time.monotonic() - seconds
        while self._read_at <= not_before:
            if self._reading is None or self._reading.done():
                work = asyncio.to_thread(self._take_in_tokens)
                self._reading = asyncio.create_task(work, name="aibridge tokens")
            await asyncio.shield(self._reading)

    def _take_in_tokens(self) -> None:
        begun = time.monotonic()
        try:
            # They are never deleted: where there are none any more, the database is away.
            self._tokens = self._source.access_tokens() or self._tokens
            self._failed, self._has_read = False, True
        except Exception as error:  # noqa: BLE001 the edge: nobody may pass by a bug of ours
            if not self._failed:  # no error at the start, since mitmproxy ends itself over one
                level = logging.ERROR if self._has_read else logging.WARNING
                message = "aibridge: access tokens cannot be read, those known stay: %s"
                logger.log(level, message, error)
            self._failed = True
        self._read_at = begun

    # Connections

    async def connect(self, flow: http.HTTPFlow, router: Router) -> TokenError | None:
        """Let a CONNECT pass, or answer it with 407 and return the reason.

        A tunnel to a provider always opens: programs wait for ever after a 407, so that a missing
        or bad access token is answered inside, where a good one may still come in a header.
        """
        if uses_proxyauth(ctx.options):
            return None
        await self.refresh()
        try:
            await self._log_in(flow, router)
        except TokenError as error:
            if not router.is_provider_host(flow.request.host):
                flow.response = login_required(error)
                return error
            if error.reason != "no_token":  # whether one is required may change
                self._refused_logins[flow.client_conn] = error
            flow.request.headers.pop(_PROXY_AUTHORIZATION, None)
        return None

    async def _log_in(self, flow: http.HTTPFlow, router: Router) -> None:
        """Remember the access token of a CONNECT for its connection.

        Raises:
            TokenError: it is not good, or one is required and missing.
        """
        host, port = flow.request.host, flow.request.port
        value = flow.request.headers.get(_PROXY_AUTHORIZATION, "")
        if mark := mark_of_login(value):
            self._runs[flow.client_conn] = mark
        if text := _token_in(value):
            token = await self._accepted(text)
            token.check_tunnel(there.name for there in router.tunnels_to(host, port))
            self._logins[flow.client_conn] = token.id
            del flow.request.headers[_PROXY_AUTHORIZATION]
        elif self.requires_token:
            raise TokenError("no_token", _NO_TOKEN)

    def allows_tunnel(self, client: connection.Client) -> bool:
        """Whether a connection that is to be tunnelled may be; a CONNECT has been asked before."""
        by_connect = isinstance(client.proxy_mode, RegularMode | UpstreamMode)
        return (
            by_connect
            or not self.requires_token
            or uses_proxyauth(ctx.options)
            or client in self._logins
        )

    # Requests

    async def admit(self, flow: http.HTTPFlow) -> Admission:
        """Judge a request by its token, and take that out of it.

        By what is known of tokens, without a wait: where a client leaves while a hook waits for the
        head, mitmproxy never asks for the rest. `refresh` and `check` follow when it has come.
        """
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        run = self._take_run(flow, reverse=reverse)
        given = _tokens_in(flow.request.headers.fields)
        if given:
            flow.request.headers.fields = tuple(
                field for field in flow.request.headers.fields if field not in given
            )
        headers = lowered(flow.request.headers.fields)
        names = {name.lower() for name, _ in given}
        as_key = not names.isdisjoint(CREDENTIAL_FIELDS)
        try:
            if as_key and not reverse:
                raise TokenError("token_as_key", _NOT_A_KEY)
            texts = set(filter(None, given.values()))
            if len(texts) > 1:
                raise TokenError("unknown_token", "this request holds several access tokens.")
            if not names <= CREDENTIAL_FIELDS | _OUR_FIELDS:
                raise TokenError("unknown_token", "an access token stands where none belongs.")
            token = await self._token(flow, next(iter(texts), ""))
        except TokenError as error:
            return Admission(refusal=error, headers=headers, run=run)
        logged_in = "proxyauth" in flow.metadata
        return Admission(token=token, headers=headers, as_key=as_key, logged_in=logged_in, run=run)

    def _take_run(self, flow: http.HTTPFlow, *, reverse: bool) -> str | None:
        """Take the mark of a run out of a request, which must not go on to anybody."""
        request = flow.request
        if reverse and not flow.is_replay:
            run, request.path = split_path(request.path)
            return run
        mark = mark_of_login(request.headers.get(_PROXY_AUTHORIZATION, ""))
        if mark and not _token_in(request.headers[_PROXY_AUTHORIZATION]):
            del request.headers[_PROXY_AUTHORIZATION]
        return mark or self._runs.get(flow.client_conn)

    def check(self, admission: Admission) -> None:
        """Check that somebody who was admitted is, and still would be.

        Raises:
            TokenError: it is not so.
        """
        if admission.refusal:
            raise admission.refusal
        if token := admission.token:
            checked_valid(self._tokens.get(token.id, token))
        elif self.requires_token and not admission.logged_in:
            raise TokenError("no_token", _NO_TOKEN)

    async def _token(self, flow: http.HTTPFlow, text: str) -> AccessToken | None:
        if text:
            return await self._accepted(text)
        if login := self._logins.get(flow.client_conn):
            return checked_valid(self._tokens[login])
        if refused := self._refused_logins.get(flow.client_conn):
            raise refused
        if self.requires_token and "proxyauth" not in flow.metadata:
            raise TokenError("no_token", _NO_TOKEN)
        return None

    async def _accepted(self, text: str) -> AccessToken:
        try:
            return authenticate(text, self._tokens)
        except TokenError:
            await asyncio.sleep(self._read_at + _BETWEEN_READINGS_SECONDS - time.monotonic())
            await self.refresh(0)
            return authenticate(text, self._tokens)


class RefusedConnection(layer.Layer):
    """A connection of somebody who may not pass, in a mode that has no words for that."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


def login_required(error: TokenError) -> http.Response:
    """Return what makes the program of a client give its login to the proxy."""
    headers = {"proxy-authenticate": 'Basic realm="aibridge"', "content-type": "text/plain"}
    made = http.Response.make(407, f"aibridge: {error}\n", headers)
    made.reason = f"aibridge: {error}".removesuffix(".")  # all that most programs show of it
    return made


def _tokens_in(fields: Fields) -> dict[tuple[bytes, bytes], str]:
    """Return the header fields that hold a token, and the token that each holds."""
    found = {}
    for field in fields:
        if token := _token_of(*field):
            found[field] = token
        elif field[0].lower() == _TOKEN_HEADER:  # also if it is empty: it is ours
            found[field] = ""
    return found


def _token_of(name: bytes, value: bytes) -> str:
    if b"aib_" not in value and value[:6].lower() != b"basic ":  # which is encoded
        return ""
    text = value.decode("latin-1")
    if name.lower() == _TOKEN_HEADER:
        return text.strip()
    is_place = name.lower() in CREDENTIAL_FIELDS or name.lower() in _OUR_FIELDS
    return _token_in(text) if is_place else find_token(text)


def _token_in(value: str) -> str:
    """Return the token that a header holds: as it is, as a bearer's, in a login, or anywhere."""
    login = login_of(value)
    said = (login[1], login[0]) if login else (without_scheme(value),)
    return next((text for text in said if looks_like_token(text)), "") or find_token(value)
