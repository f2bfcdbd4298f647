"""`python -m standin`: serve the provider until SIGTERM; prints where, as one line of JSON."""

import argparse
import asyncio
import json
import signal
import tempfile
from pathlib import Path

from standin.provider import Provider
from standin.server import Server
from standin.tls import make_authority


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="standin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--tls", action="store_true", help="speak TLS, with a throw-away CA")
    parser.add_argument("--ca-dir", type=Path, help="where the CA goes (default: a new folder)")
    parser.add_argument("--http1", action="store_true", help="do not offer HTTP/2")
    asyncio.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    authority = None
    if options.tls:
        directory = options.ca_dir or Path(tempfile.mkdtemp(prefix="standin-"))
        directory.mkdir(parents=True, exist_ok=True)
        authority = make_authority(directory)
    server = Server(
        Provider(),
        host=options.host,
        port=options.port,
        tls=authority.server_context() if authority else None,
        http2=not options.http1,
        record=False,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        where = {"port": server.port, "origin": server.origin}
        if authority:
            where["ca"] = str(authority.path)
        print(json.dumps(where), flush=True)
        await stop.wait()


main()
