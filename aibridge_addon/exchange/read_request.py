"""A request whose body was read, and which may be edited before it is sent upstream."""

from collections.abc import Hashable
from dataclasses import dataclass

from aibridge_addon.access.policies import Asked
from aibridge_addon.exchange.client_request import ClientRequest
from aibridge_addon.facts import Interception
from aibridge_addon.formats import Format
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import body
from aibridge_addon.relay.further_send import OriginalRequest


@dataclass(slots=True, kw_only=True)
class ReadRequest:
    """The contents of a request, and its edits."""

    client: ClientRequest
    wire_format: Format
    interception: Interception
    asked: Asked
    """The input of the policies."""
    members: Members
    """The members of the body, undecoded."""
    original: OriginalRequest
    """The request before any edit."""
    is_partial: bool
    """True if the body could not be decoded; `members` is empty then."""
    edit_keys: tuple[Hashable, ...] = ()
    """Names of the edits, for `tools.refused_edits`."""
    is_reverted: bool = False
    """True once the original was sent in place of the edited request."""

    @property
    def is_edited(self) -> bool:
        """True if the body that is sent upstream differs from the client's."""
        return not self.is_reverted and self.original.body != self.client.raw_body

    def replace_body(self, members: Members) -> None:
        """Send other members upstream."""
        self.client.flow.request.content = body(members)

    def ask_for_plain_response(self) -> None:
        """Ask for a response without content coding, because it will be edited."""
        self.client.flow.request.headers["accept-encoding"] = "identity"
