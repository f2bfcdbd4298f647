"""`aibridge web`, and the page inside `aibridge proxy --dashboard`."""

import contextlib
import html
import json
import re
import socket
from collections.abc import Callable, Iterator

import httpx2
import pytest
from standin.plan import ANSWER

from cli.command import WAIT_S, Home, wait_until

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/link\?key=\S+")


@contextlib.contextmanager
def opened_link(line: str) -> Iterator[httpx2.Client]:
    """Yield a browser that is signed in with the link of a line."""
    link = LINK.search(line)
    assert link, line
    headers = {"accept": "text/html"}
    with httpx2.Client(
        base_url=link[1], timeout=WAIT_S, headers=headers, trust_env=False
    ) as browser:
        assert "Signed in" in browser.get(link[0]).text
        yield browser


def first_live_row(browser: httpx2.Client, act: Callable[[], object]) -> dict[str, str]:
    """Open the live page, act, and return the data of the first row that appears."""
    live = re.search(r'data-live="([^"]*)"', browser.get("/requests").text)
    assert live
    with browser.stream("GET", html.unescape(live[1])) as events:
        act()
        for line in events.iter_lines():
            if line.startswith('data: {"id"'):
                row: dict[str, str] = json.loads(line.removeprefix("data: "))
                return row
    raise AssertionError("the live page ended without a row")


def ask(home: Home, text: str, token: str = "") -> None:
    """Send a request through the reverse proxy."""
    with_token = {"x-aibridge-token": token} if token else {}
    body = {
        "model": "claude-opus-4-8",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    }
    response = httpx2.post(
        f"{home.proxy().reverse_url}/anthropic/v1/messages",
        json=body,
        headers={"x-api-key": "sk-ant-test-0123456789", "anthropic-version": "2023-06-01"}
        | with_token,
        timeout=WAIT_S,
        trust_env=False,
    )
    assert response.status_code == 200, response.text


def test_web_serves_the_page_and_prints_a_link_that_signs_in(home: Home) -> None:
    process = home.start("web", "--port", "0", "--db", str(home.path / "other.sqlite3"))
    process.wait_for("The page shows .*other.sqlite3")
    with opened_link(process.wait_for(LINK.pattern)) as browser:
        assert (home.data / "web.key").stat().st_mode & 0o077 == 0
        assert "aibridge run -- claude" in browser.get("/").text
    assert process.stop() == 0


def test_port_in_use_is_reported(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words in (
            ("web", "--port", str(port)),
            ("proxy", "--port", "0", "--dashboard", f"127.0.0.1:{port}"),
        ):
            result = home.invoke(*words)
            assert result.exit_code == 1
            assert f"port {port} on 127.0.0.1 is used by another program" in result.stderr


@pytest.mark.parametrize("address", ["8083", "host", "127.0.0.1:x", "127.0.0.1:70000"])
def test_malformed_address_of_the_dashboard_is_refused(home: Home, address: str) -> None:
    result = home.invoke("proxy", "--dashboard", address)
    assert result.exit_code == 2
    assert "write it as HOST:PORT" in result.stderr


def test_proxy_serves_the_page_in_its_process(home: Home) -> None:
    with home.config.open("a") as config:
        config.write('[[actors]]\nmatch = "a.smith"\nid = "alice"\n')
    process = home.start_proxy("--dashboard", "127.0.0.1:0")
    line = process.wait_for(r"^ +page +http")
    assert "key=" not in line, "its output is not a terminal, but may be a log"
    url = home.proxy().dashboard_url
    assert url
    assert line.endswith(url)
    printed = home.run("web").stdout
    with opened_link(printed) as browser:
        assert f"process {process.pid}" in browser.get("/health").text
        row = first_live_row(browser, lambda: ask(home, "How tall is a giraffe?"))
        assert "How tall is a giraffe?" in row["html"]
        page = browser.get(f"/requests/{row['id']}").text
        assert "How tall is a giraffe?" in page
        assert ANSWER in page
    token = home.run("token", "create", "a.smith").stdout.strip()
    ask(home, "How tall is Alice?", token)
    used = home.run("usage", "--by", "actor", "--mine", "--json", env={"AIBRIDGE_LOGIN": token})
    assert [row["name"] for row in json.loads(used.stdout)] == ["alice"]
    with httpx2.Client(base_url=url, headers={"origin": url}, trust_env=False) as browser:
        assert browser.post("/login", data={"token": token}).status_code == 303
        own = browser.get("/requests").text
    assert "How tall is Alice?" in own
    assert "giraffe" not in own
    assert process.stop() == 0
    wait_until(lambda: home.run("env").returncode != 0, "the announcement was not removed")
