"""The rule that decides if access tokens are required, when tokens can be read and when not."""

from pathlib import Path

import pytest

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.store import open_store


def test_no_access_token_is_required_without_a_database(tmp_path: Path) -> None:
    assert not AdmissionControl(open_store(tmp_path / "missing.sqlite3"), "auto").requires_token


def test_access_token_is_required_until_the_tokens_were_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "aibridge.sqlite3"
    database.write_text("not readable as a database " * 100)

    admission = AdmissionControl(open_store(database), "auto")

    assert admission.requires_token
    # At the start mitmproxy ends itself over an error.
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_rule_never_requires_no_access_token_even_if_the_database_is_unreadable(
    tmp_path: Path,
) -> None:
    database = tmp_path / "aibridge.sqlite3"
    database.write_text("not readable as a database " * 100)
    assert not AdmissionControl(open_store(database), "never").requires_token
