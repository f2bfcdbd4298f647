"""A client's request to a provider instance, with what must not be shown in its flow.

mitmproxy shows and saves flows, so that a flow holds masked secrets; the secrets themselves are
here, and are put back into the request that is sent upstream.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from mitmproxy import http

from aibridge_addon.access.keys.affinity import Affinity
from aibridge_addon.access.keys.pool import KeyPool
from aibridge_addon.access.sender import Sender
from aibridge_addon.facts import Interception
from aibridge_addon.formats import FORMATS, RequestView
from aibridge_addon.formats.billing_labels import moved_labels
from aibridge_addon.formats.decoders.codings import UndecodableError, decode_body
from aibridge_addon.formats.form import UnreadableFormError, is_form, read_form
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.providers.actor_headers import with_actor
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.credentials import CREDENTIAL_HEADERS, Credential, Headers
from aibridge_addon.providers.identity import Actor
from aibridge_addon.providers.routing import Route
from aibridge_addon.relay.head_copies import copy_head
from aibridge_addon.relay.secrets import Secrets, mask_fields, outgoing_fields, outgoing_path


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledKey:
    """A key of a pool, with what it was chosen by."""

    pool: KeyPool
    key: CentralKey
    affinity: Affinity
    model: str
    """Model class."""

    def other(self, tried: Iterable[CentralKey]) -> "PooledKey | None":
        """Return another key that may be used now, if there is one."""
        key = self.pool.find(self.affinity, self.model, (self.key, *tried))
        return replace(self, key=key) if key else None


@dataclass(slots=True, kw_only=True)
class ClientRequest:
    """A routed request."""

    flow: http.HTTPFlow
    route: Route
    max_bytes: int
    """The largest decoded body that is read."""
    secrets: Secrets = field(default_factory=dict)
    credential: Credential | None = None
    sender: Sender | None = None
    """Known once the request is complete."""
    actor: Actor | None = None
    """The actor that headers name to the provider; None: no such headers."""
    hosts: tuple[str, ...] = ()
    """The authorities that the client named."""
    is_signed: bool = False
    """True if the client's signature covers the request, which must not be changed then."""
    pooled: PooledKey | None = None
    """The key that it is sent with, if that comes from a pool."""
    served_by: str = ""
    """The other provider instance that serves it, and its model; empty: the client's choice."""
    location: str | None = None
    """The location of Vertex AI to which a fallback has moved it."""
    budget_left: int | None = None
    """Nano-dollars left in the tightest budget that shows it; None: no budget does."""
    needs_signature: bool = False
    """True if it is sent with a signature of the operator's credentials."""
    sign: Callable[[http.Request], None] | None = None
    """Signs the head that is sent upstream, once there are credentials."""
    _judged: tuple[bytes, bytes] | None = field(default=None, init=False, repr=False)
    """The body as it was received, and as policies read it."""

    @property
    def raw_body(self) -> bytes:
        """The body as it was received."""
        return self.flow.request.raw_content or b""

    def use_key(self, header: tuple[str, str], credential: Credential) -> None:
        """Send the request with a central key, given as a header, in place of its credential."""
        headers = self.flow.request.headers
        name, value = header
        [(_, hint)], secrets = mask_fields(((name.encode(), value.encode()),))
        for other in CREDENTIAL_HEADERS:
            if other != name:
                headers.pop(other, None)
        headers[name] = hint.decode()
        self.secrets = self.secrets | secrets
        self.credential = credential

    def as_sent(self, interception: Interception) -> Interception:
        """Return the facts of an interception with the instance and key that serve it now."""
        labels = interception.billing_labels
        return replace(
            interception,
            provider_name=self.route.provider.name,
            credential_hint=self.credential.hint if self.credential else None,
            billing_labels=moved_labels(labels, self.location) if self.location else labels,
        )

    def view(self, members: Members, headers: Headers) -> RequestView:
        """Return the input of a wire format, given the members of a body or message."""
        path, _, query = self.flow.request.path.partition("?")
        return RequestView(
            members=members,
            method=self.flow.request.method,
            path=path,
            query=query,
            headers=headers,
            path_values=self.route.path_values,
        )

    def body(self) -> bytes:
        """Return the decoded body.

        Raises:
            UndecodableError: it does not match its content coding, or exceeds `max_bytes`.
        """
        raw = self.raw_body
        if len(raw) > self.max_bytes:
            raise UndecodableError("the body is larger than the bound")
        coding = self.flow.request.headers.get("content-encoding", "")
        return decode_body(raw, coding, max_bytes=self.max_bytes) if coding else raw

    @property
    def content_type(self) -> str:
        """The media type of the body, with its parameters."""
        value: str = self.flow.request.headers.get("content-type", "")
        return value

    @property
    def is_form(self) -> bool:
        """True for a form on a route whose wire format takes forms."""
        api = self.route.api
        return api is not None and FORMATS[api].takes_forms and is_form(self.content_type)

    def json_body(self) -> bytes:
        """Return the decoded body; of a form, its fields as JSON.

        Raises:
            UndecodableError: it does not match its content coding, is too large, or is a form that
                is not read.
        """
        if not self.is_form:
            return self.body()
        coded = "content-encoding" in self.flow.request.headers
        try:
            # Nothing of an uploaded file is copied, so that its size does not matter.
            return read_form(self.content_type, self.body() if coded else self.raw_body)
        except UnreadableFormError as error:
            raise UndecodableError(str(error)) from error

    def content_to_judge(self) -> bytes | None:
        """Return the body for policies; None without a body, empty if it is unreadable.

        Several policies ask for it.
        """
        raw = self.flow.request.raw_content
        if not raw:
            return None
        if self._judged is None or self._judged[0] is not raw:
            self._judged = raw, self._readable_body()
        return self._judged[1]

    def unread_content(self) -> bytes | None:
        """Return the body, decoded if possible, if policies do not read all of it."""
        if not self.is_form and self.content_to_judge() != b"":
            return None
        try:
            return self.body()
        except UndecodableError:
            return self.raw_body

    def _readable_body(self) -> bytes:
        """Return the body, empty if it is unreadable.

        The fields of a form can be made to look like JSON, so that a form counts as unreadable
        where no form is expected.
        """
        if not self.is_form and "form" in self.content_type.lower():
            return b""
        try:
            return self.json_body()
        except UndecodableError:
            return b""

    def outgoing(self) -> http.Request:
        """Return the head that is sent upstream: with the secrets, without this hop's headers."""
        request = copy_head(self.flow.request)
        fields = outgoing_fields(request.headers.fields, self.secrets)
        if self.actor and not self.is_signed:
            fields = with_actor(fields, self.actor)
        request.data.headers = http.Headers(fields)
        if b"?" in request.data.path:
            request.path = outgoing_path(request.path, self.secrets)
        if self.sign:
            self.sign(request)
        return request
