"""A stand-in for AI providers: real HTTP, scripted answers. For tests, the demo and the benchmark.

server.py       one application on one port, HTTP/1.1 and HTTP/2, with or without TLS
connections.py  the two protocols
messages.py     requests, responses, and the parts of a body: bytes, waits, faults
codings.py      gzip, br, zstd, flushed part by part
provider.py     the application that speaks Anthropic's and OpenAI's APIs
plan.py         what it says, by words in the user's text (the list is there)
tls.py          a throw-away CA
"""

from standin.messages import EndEarly, Gate, Part, Pause, Request, Reset, Response, Wait
from standin.provider import Exchange, Provider
from standin.server import Server, ServerThread
from standin.tls import Authority, make_authority

__all__ = [
    "Authority",
    "EndEarly",
    "Exchange",
    "Gate",
    "Part",
    "Pause",
    "Provider",
    "Request",
    "Reset",
    "Response",
    "Server",
    "ServerThread",
    "Wait",
    "make_authority",
]
