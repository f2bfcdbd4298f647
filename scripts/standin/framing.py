"""Decides how the body of a response is framed, for both protocols of HTTP."""

from standin.codings import encode
from standin.messages import Response

BODYLESS = (204, 304)


def prepare(response: Response) -> tuple[list[tuple[str, str]], int | None]:
    """Return the headers without framing, and the body's length if it is known."""
    headers = list(response.headers)
    if response.coding != "identity":
        headers.append(("content-encoding", response.coding))
        if isinstance(response.body, bytes):
            response.body = encode(response.body, response.coding)
            response.coding = "identity"
    if response.announce_length is not None:
        return headers, response.announce_length
    return headers, len(response.body) if isinstance(response.body, bytes) else None
