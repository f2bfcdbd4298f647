"""Admission: authenticates clients by their access tokens, and removes these from the requests.

A client sends its access token in the header `X-AIBridge-Token`, as the API key at the reverse
proxy, or as the password of a proxy login, which then holds for the connection. JWTs of configured
issuers may take its place in the first two. Logins of mitmproxy's own `proxyauth` are accepted as
well. Policies decide what an admitted client may do.
"""

import weakref

from mitmproxy import connection, ctx, http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.mode_specs import RegularMode, ReverseMode, UpstreamMode

from aibridge_addon.access.jwt.reading import looks_like_jwt
from aibridge_addon.access.jwt.verifier import JWTVerifier
from aibridge_addon.access.proxyauth import uses_proxyauth
from aibridge_addon.access.runs import mark_of_login, split_path
from aibridge_addon.access.sender import Admission
from aibridge_addon.access.token_cache import FRESH_SECONDS, TokenCache
from aibridge_addon.access.token_fields import (
    ACCEPTED_NAMES,
    ACCEPTED_NAMES_OF_JWT,
    PROXY_AUTHORIZATION,
    carries_key,
    fields_of_query,
    token_in,
    tokens_in,
    without_tokens,
)
from aibridge_addon.access.tokens import AccessToken, TokenError, TokenSource, check_valid
from aibridge_addon.headers import lowered
from aibridge_addon.providers.query_keys import without_keys
from aibridge_addon.providers.routing import Router

_NO_TOKEN = (
    "this proxy requires an access token: as the password in the proxy's URL, in the header"  # noqa: S105
    " X-AIBridge-Token or, at the reverse proxy, instead of the API key."
)
_JWT_AS_LOGIN = (
    "a JSON Web Token cannot be the password in the proxy's URL. Send it in the header"
    " X-AIBridge-Token."
)
_NOT_A_KEY = (
    "an access token is not a provider's API key. Send it as the password in the proxy's URL, or"
    " in the header X-AIBridge-Token."
)


class AdmissionControl:
    """Authenticates clients, and remembers the logins of their connections."""

    def __init__(self, source: TokenSource, rule: str, jwts: JWTVerifier | None = None) -> None:
        """Read the access tokens for the first time.

        Args:
            source: The store of access tokens.
            rule: The option `aibridge_require_token`.
            jwts: Verifies JWTs; None: there are no issuers.
        """
        self.rule = rule
        self._jwts = jwts or JWTVerifier()
        self._tokens = TokenCache(source)
        self._logins: weakref.WeakKeyDictionary[connection.Client, str] = (
            weakref.WeakKeyDictionary()
        )
        """Ids of access tokens."""
        self._refused_logins: weakref.WeakKeyDictionary[connection.Client, TokenError] = (
            weakref.WeakKeyDictionary()
        )
        """Refusals at CONNECT to a provider, whose requests are answered inside the tunnel."""
        self._runs: weakref.WeakKeyDictionary[connection.Client, str] = weakref.WeakKeyDictionary()
        """Marks of `aibridge run`."""

    @property
    def requires_token(self) -> bool:
        """True if a request without an access token is refused."""
        return self.rule == "always" or (self.rule == "auto" and self._tokens.may_have_tokens)

    async def refresh(self, seconds: float = FRESH_SECONDS) -> None:
        """Read the access tokens again, unless that was started within the last `seconds`."""
        await self._tokens.refresh(seconds)

    # Connections

    async def connect(self, flow: http.HTTPFlow, router: Router) -> TokenError | None:
        """Admit a CONNECT, or answer it with 407 and return the reason.

        A tunnel to a provider always opens: programs wait forever after a 407, so that a missing
        or invalid access token is answered inside, where a valid one may still come in a header.
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
            if error.reason != "no_token":  # the rule may change while the tunnel is open
                self._refused_logins[flow.client_conn] = error
            flow.request.headers.pop(PROXY_AUTHORIZATION, None)
        return None

    async def _log_in(self, flow: http.HTTPFlow, router: Router) -> None:
        """Remember the access token of a CONNECT for its connection.

        Raises:
            TokenError: the access token is invalid, or required and missing.
        """
        host, port = flow.request.host, flow.request.port
        value = flow.request.headers.get(PROXY_AUTHORIZATION, "")
        if mark := mark_of_login(value):
            self._runs[flow.client_conn] = mark
        if text := token_in(value):
            token = await self._tokens.authenticate(text)
            token.check_tunnel(instance.name for instance in router.tunnels_to(host, port))
            self._logins[flow.client_conn] = token.id
            del flow.request.headers[PROXY_AUTHORIZATION]
        elif self._jwts.find_in(((PROXY_AUTHORIZATION.encode(), value.encode()),)):
            raise TokenError("jwt_as_login", _JWT_AS_LOGIN)
        elif self.requires_token:
            raise TokenError("no_token", _NO_TOKEN)

    def token_of_connection(self, client: connection.Client) -> AccessToken | None:
        """Return the access token with which a connection was opened."""
        login = self._logins.get(client)
        return self._tokens.by_id(login) if login else None

    def allows_tunnel(self, client: connection.Client) -> bool:
        """Return True if a connection may be tunnelled; CONNECT requests were checked before."""
        by_connect = isinstance(client.proxy_mode, RegularMode | UpstreamMode)
        return (
            by_connect
            or not self.requires_token
            or uses_proxyauth(ctx.options)
            or client in self._logins
        )

    # Requests

    async def admit(self, flow: http.HTTPFlow) -> Admission:
        """Authenticate a request by its header, and remove the access token from it.

        It uses the tokens that are known, and does not wait: if a client disconnects while a hook
        waits for the head, mitmproxy never reads the rest. `refresh` and `check` follow when the
        body has arrived.
        """
        reverse = isinstance(flow.client_conn.proxy_mode, ReverseMode)
        run = self._pop_run(flow, reverse=reverse)
        in_query = fields_of_query(flow.request.path)
        sent = tokens_in((*flow.request.headers.fields, *in_query))
        sent |= self._jwts.find_in((*flow.request.headers.fields, *in_query))
        if sent:
            flow.request.headers.fields = without_tokens(flow.request.headers.fields, sent)
        for found in {sent[field] for field in in_query if field in sent}:
            flow.request.path = without_keys(flow.request.path, of=found)
        headers = lowered(flow.request.headers.fields)
        names = {name.lower() for name, _ in sent}
        sent_as_key = any(map(carries_key, names))
        try:
            if sent_as_key and not reverse:
                raise TokenError("token_as_key", _NOT_A_KEY)
            text = _only_token(names, set(filter(None, sent.values())))
            jwt = await self._jwts.verify(text) if looks_like_jwt(text) else None
            token = None if jwt else await self._token(flow, text)
        except TokenError as error:
            return Admission(
                refusal=error, headers=headers, fields=flow.request.headers.fields, run=run
            )
        return Admission(
            token=token,
            jwt=jwt,
            headers=headers,
            fields=flow.request.headers.fields,
            sent_as_key=sent_as_key,
            has_login="proxyauth" in flow.metadata,
            run=run,
        )

    def _pop_run(self, flow: http.HTTPFlow, *, reverse: bool) -> str | None:
        """Remove the mark of `aibridge run` from a request, and return it."""
        request = flow.request
        if reverse and not flow.is_replay:
            run, request.path = split_path(request.path)
            return run
        mark = mark_of_login(request.headers.get(PROXY_AUTHORIZATION, ""))
        if mark and not token_in(request.headers[PROXY_AUTHORIZATION]):
            del request.headers[PROXY_AUTHORIZATION]
        return mark or self._runs.get(flow.client_conn)

    def check(self, admission: Admission) -> None:
        """Check an admission against the access tokens of this moment.

        Raises:
            TokenError: the client was not admitted, or would not be admitted any more.
        """
        if admission.refusal:
            raise admission.refusal
        if token := admission.token:
            check_valid(self._tokens.current(token))
        elif admission.jwt:
            self._jwts.check(admission.jwt)
        elif self.requires_token and not admission.has_login:
            raise TokenError("no_token", _NO_TOKEN)

    async def _token(self, flow: http.HTTPFlow, text: str) -> AccessToken | None:
        if text:
            return await self._tokens.authenticate(text)
        if login := self._logins.get(flow.client_conn):
            token = self._tokens.by_id(login)
            check_valid(token)
            return token
        if refused := self._refused_logins.get(flow.client_conn):
            raise refused
        if self.requires_token and "proxyauth" not in flow.metadata:
            raise TokenError("no_token", _NO_TOKEN)
        return None


class RefusedConnection(layer.Layer):
    """Closes a connection without an answer: its mode has no message for a refusal."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


def _only_token(names: set[bytes], texts: set[str]) -> str:
    """Return the text of the only access token of a request; empty if it has none.

    Raises:
        TokenError: there are several, or a header has one that must not carry any.
    """
    if len(texts) > 1:
        raise TokenError("unknown_token", "this request has several access tokens; send one.")
    text = next(iter(texts), "")
    accepted = ACCEPTED_NAMES_OF_JWT if looks_like_jwt(text) else ACCEPTED_NAMES
    if unexpected := sorted(names - accepted):
        name = unexpected[0].decode("latin-1")
        raise TokenError("unknown_token", f"unexpected access token in the header {name}.")
    return text


def login_required(error: TokenError) -> http.Response:
    """Return a 407 response, after which client programs send their login to the proxy."""
    headers = {"proxy-authenticate": 'Basic realm="aibridge"', "content-type": "text/plain"}
    response = http.Response.make(407, f"aibridge: {error}\n", headers)
    # Most programs show the reason phrase only.
    response.reason = f"aibridge: {error}".removesuffix(".")
    return response
