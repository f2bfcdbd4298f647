"""A provider that leaves an HTTP/2 connection by GOAWAY: no open response breaks off."""

import pytest
from standin import Provider, Request, Response, Server

from e2e.asking import API, APIS
from e2e.clients import Clients, Way
from e2e.proxy import Proxy

HTTP2 = [Way("forward", http2=True), Way("reverse", http2=True)]


@pytest.mark.parametrize("way", HTTP2, ids=str)
@pytest.mark.parametrize("api", APIS, ids=str)
def test_open_stream_is_completed_and_the_next_request_takes_another_connection(
    clients: Clients, provider: Provider, standin: Server, proxy: Proxy, way: Way, api: API
) -> None:
    def leave(_: Request) -> Response:
        for link in standin.links:
            link.leave()
        return Response(200, [("content-type", "application/json")], b"{}")

    provider.canned["leave"] = leave
    url = clients.url(way, api.provider, api.path)
    gate = provider.gate(f"goaway_{api}_{way}")
    question = api.body(f"GATE:goaway_{api}_{way} SAY:{'long ' * 20}", stream=True)
    with proxy.recording() as records, clients.http(way) as client:
        with client.stream("POST", url, json=question) as response:
            chunks = response.iter_raw()
            assert next(chunks)
            leaving = client.post(url, json=api.body("hi"), headers={"x-standin-canned": "leave"})
            assert leaving.status_code == 200
            assert client.post(url, json=api.body("hi")).status_code == 200
            gate.open()
            assert list(chunks)
        assert client.post(url, json=api.body("hi")).status_code == 200
    assert [row["status"] for row in records.interceptions] == ["completed"] * 4
    assert standin.errors == []
