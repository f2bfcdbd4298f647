"""Takes a screenshot of every page of the web page, filled by the demo, in a real Chromium.

The requests of the demo are repeated on the days before, so that the chart has something to show.
`python scripts/screenshots.py FOLDER` writes PNG files; `--docs` also renews those of the docs.
"""

import argparse
import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import demo_record
import demo_servers
from demo import use_all
from playwright.sync_api import Browser, Page, sync_playwright

from aibridge_addon.facts import Status

DESK, PHONE = (1280, 800), (390, 844)
DAYS = 7
PAGES = {
    "overview": "/",
    "conversations": "/sessions",
    "requests": "/requests",
    "search": "/requests?q=parser",
    "people": "/people",
    "health": "/health",
}
DOCS = {"overview-light": "overview", "loop-light": "conversation"}
"""Screenshots that the documentation shows, by the name of the file there."""
MODELS = {
    "anthropic": ("claude-opus-4-8", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5"),
    "openai": ("gpt-5.2", "gpt-5.4-mini", "gpt-5.4-mini", "any-local"),
}
"""Models by provider instance."""


def main() -> None:
    """Run the demo's clients, and take the screenshots."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--docs", action="store_true", help="renew the pictures of the docs")
    given = arguments.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aibridge-shots-")))
        database = record(folder)
        repeat_on_days_before(database)
        browser = stack.enter_context(chromium())
        for name, size, scheme in (
            ("light", DESK, "light"),
            ("dark", DESK, "dark"),
            ("phone", PHONE, "light"),
        ):
            with demo_record.page(database) as link:
                page = open_page(browser, size, scheme)
                page.goto(link)
                take_all(page, link.partition("/link")[0], given.folder, name)
                page.context.close()
    if given.docs:
        renew_docs(given.folder)


def record(folder: Path) -> Path:
    """Run the demo's clients through a proxy; return the database."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(demo_servers.stand_in(folder))
        weather = stack.enter_context(demo_servers.mcp_server(folder))
        forward, reverse = stack.enter_context(demo_servers.proxy(folder, provider, weather))
        use_all(folder, forward, reverse)
    return folder / "aibridge.sqlite3"


def repeat_on_days_before(database: Path) -> None:
    """Repeat the recorded requests, with their usage, on the days before."""
    chance = random.Random(7)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM aibridge_interceptions").fetchall()
        for days in range(1, DAYS):
            for row in rows * 2:
                if chance.random() < 0.6:
                    repeat(connection, dict(row), days, chance)


def repeat(
    connection: sqlite3.Connection, row: dict[str, object], days: int, chance: random.Random
) -> None:
    """Insert a request again with another model, some days earlier."""
    original = row["id"]
    moment = datetime.now(UTC) - timedelta(days=days, minutes=chance.randrange(400))
    digits = f"{int(moment.timestamp() * 1000):012x}7{chance.getrandbits(76):019x}"
    row["id"] = str(uuid.UUID(digits))
    row["started_at"] = moment.isoformat(timespec="microseconds")
    row["ended_at"] = (moment + timedelta(seconds=3)).isoformat(timespec="microseconds")
    row["client_session_id"] = None
    row["status"] = chance.choices([*Status], [40, 1, 1, 1, 0])[0].value
    row["model"] = chance.choice(MODELS.get(str(row["provider_name"]), (row["model"],)))
    insert(connection, "aibridge_interceptions", row)
    usages = connection.execute(
        "SELECT * FROM aibridge_token_usages WHERE interception_id = ?", [original]
    ).fetchall()
    for number, usage in enumerate(usages):
        grown = {"id": f"{row['id']}-{number}", "interception_id": row["id"]}
        if row["model"] == "any-local":
            grown |= {"cost_nano_usd": None, "uncached_cost_nano_usd": None}
        insert(connection, "aibridge_token_usages", dict(usage) | grown)


def insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    """Insert a row."""
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", row)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless Chromium of the system."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Browser, size: tuple[int, int], scheme: str) -> Page:
    """Open a browser window."""
    return browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    ).new_page()


def take_all(page: Page, url: str, folder: Path, name: str) -> None:
    """Take a screenshot of every page."""
    page.wait_for_url(f"{url}/")
    paths = dict(PAGES)
    for title, actor in (("conversation", "dave"), ("loop", "carol")):
        page.goto(f"{url}/requests?actor={actor}")
        paths[title] = page.locator("a.open").first.get_attribute("href") or "/"
    paths["changes"] = f"{paths['conversation']}/changes"
    for title, path in paths.items():
        page.goto(url + path)
        page.screenshot(path=folder / f"{title}-{name}.png")


def renew_docs(folder: Path) -> None:
    """Copy the pictures of the documentation."""
    images = demo_servers.ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for taken, name in DOCS.items():
        shutil.copy(folder / f"{taken}.png", images / f"{name}.png")


if __name__ == "__main__":
    main()
