"""Whether access tokens are asked for, by what could be read of them."""

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.store import open_store


def test_gate_without_a_database_asks_for_no_token(tmp_path):
    assert not AdmissionControl(open_store(tmp_path / "missing.sqlite3"), "auto").requires_token


def test_gate_asks_until_it_could_read_the_tokens_once(tmp_path, caplog):
    database = tmp_path / "aibridge.sqlite3"
    database.write_text("not readable as a database " * 100)

    admission = AdmissionControl(open_store(database), "auto")

    assert admission.requires_token
    # At the start mitmproxy ends itself over an error.
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_gate_with_the_rule_never_asks_for_no_token_whatever_can_be_read(tmp_path):
    database = tmp_path / "aibridge.sqlite3"
    database.write_text("not readable as a database " * 100)
    assert not AdmissionControl(open_store(database), "never").requires_token
