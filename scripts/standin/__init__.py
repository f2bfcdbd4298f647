"""A stand-in for AI providers: real HTTP, scripted answers. For tests, the demo and the benchmark.

server.py       one application on one port, HTTP/1.1, HTTP/2 and WebSocket, with or without TLS
connections.py  one connection, and its protocol
http1.py        HTTP/1.1
http2.py        HTTP/2
websocket.py    the third protocol
messages.py     requests, responses, and the parts of a body: bytes, waits, faults
codings.py      gzip, br, zstd, flushed part by part
provider.py     the application that speaks Anthropic's and OpenAI's APIs
conversation.py OpenAI Responses over a WebSocket
bedrock.py      AWS event-stream frames, InvokeModel and Converse
bedrock_models.py  models other than Claude in InvokeModel
vertex_claude.py  Claude on Vertex AI
other_calls.py  calls other than messages, by their paths:
openai_calls.py   texts, vectors, ranks, images and audio of OpenAI
google_calls.py   vectors, images, caches and interactions of Google
batches.py        batches and files of all three
realtime.py       OpenAI Realtime
gemini_live.py    Google's Live API
plan.py         decides the response by words in the user's text (the list is there)
delivery.py     delivery of a response: shape, content type, pieces
tls.py          a throw-away CA
"""

from standin.messages import (
    EndEarly,
    Gate,
    Part,
    Pause,
    Request,
    Reset,
    Response,
    Unprocessed,
    Upgrade,
    Wait,
)
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
    "Unprocessed",
    "Upgrade",
    "Wait",
    "make_authority",
]
