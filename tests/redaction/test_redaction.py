"""Redaction of texts and JSON documents: what is cut, how it is marked, and what stays."""

import json
import re
import time

import pytest

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.redaction import OwnRule, Redaction, check_own_pattern
from aibridge_addon.redaction.windows import WINDOW, windows

REDACTION = Redaction()
DIGITS = "0123456789" * 10
LETTERS = "a1b2c3d4e5f6g7h8i9j0" * 10
PEM = (
    f"-----BEGIN RSA PRIVATE KEY-----\n{LETTERS[:64]}\n{LETTERS[:64]}\n"
    "-----END RSA PRIVATE KEY-----"
)
SECRETS = {
    "aibridge access token": AccessToken.make("alice")[0],
    "Anthropic key": f"sk-ant-api03-{LETTERS[:40]}",
    "API key": f"sk-proj-{LETTERS[:40]}",
    "Google API key": f"AIza{LETTERS[:35]}",
    "GitHub token": f"ghp_{LETTERS[:36]}",
    "Hugging Face token": f"hf_{LETTERS[:34]}",
    "Groq key": f"gsk_{LETTERS[:52]}",
    "Telegram token": f"123456789:AA{LETTERS[:33]}",
    "JSON Web Token": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{LETTERS[:43]}",
    "AWS key": "AKIAIOSFODNN7EXAMPLE",
    "Azure storage key": f"AccountKey={LETTERS[:86]}==",
    "Discord token": f"M{LETTERS[:23]}.{LETTERS[:6]}.{LETTERS[:27]}",
    "GitLab token": f"glpat-{LETTERS[:20]}",
    "Mailchimp key": f"{DIGITS[:32]}-us12",
    "PyPI token": f"pypi-AgEIcHlwaS5vcmc{LETTERS[:80]}",
    "SendGrid key": f"SG.{LETTERS[:22]}.{LETTERS[:43]}",
    "Slack token": "xoxb-123456789012-abcdefghij1234567890",
    "Square secret": f"sq0csp-{LETTERS[:43]}",
    "Stripe key": f"sk_live_{LETTERS[:24]}",
    "Twilio key": f"AC{LETTERS[:32]}",
    "ephemeral key": f"ek_{LETTERS[:32]}",
    "ephemeral token": f"auth_tokens/{DIGITS[:64]}",
    "Google access token": f"ya29.{LETTERS[:60]}",
    "GitHub Copilot token": f"tid={DIGITS[:32]};exp=1790000000;sku=x;8kp=1:{DIGITS[:64]}",
    "AWS session token": f"IQoJb3JpZ2luX2Vj{LETTERS[:120]}==",
    "Bedrock key": f"ABSK{LETTERS[:120]}=",
    "NVIDIA key": f"nvapi-{LETTERS[:64]}",
    "Cerebras key": f"csk-{LETTERS[:48]}",
    "Together key": f"tgp_v1_{LETTERS[:43]}",
    "private key": PEM,
}


@pytest.mark.parametrize("label", SECRETS)
def test_secret_is_cut_and_marked_with_its_kind(label: str) -> None:
    secret = SECRETS[label]

    assert REDACTION.text(f"use {secret} please") == f"use [redacted: {label}] please"


@pytest.mark.parametrize("label", SECRETS)
def test_secret_in_a_json_document_is_cut_however_it_is_escaped(label: str) -> None:
    said = {"role": "user", "content": [{"text": f'a "{SECRETS[label]}"'}]}
    whole = json.dumps(said).encode()
    escaped = re.sub(rb"[A-Z]", lambda found: b"\\u%04x" % found[0][0], whole)

    for document in (whole, escaped):
        (part,) = json.loads(REDACTION.document(document))["content"]
        assert part["text"] == f'a "[redacted: {label}]"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sftp://bob:hunter22@host/x", "sftp://bob:[redacted: password in a URL]@host/x"),
        ("GET /v1?key=0123456789abc&x=1", "GET /v1?key=[redacted: key in a URL]&x=1"),
        *(
            (f"https://h/a?x=1{mark}{name}={LETTERS[:30]}&y=2",
             f"https://h/a?x=1{mark}{name}=[redacted: key in a URL]&y=2")
            for mark in ("&", "&amp;")
            for name in (
                *("sig", "X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Credential"),
                *("X-Goog-Signature", "X-Goog-Credential", "upload_id", "api_key", "apikey"),
                *("access_token", "subscription-key"),
            )
        ),
        (
            f"Incorrect API key provided: sk-{LETTERS[:40]}. You can find",
            "Incorrect API key provided: [redacted: API key]. You can find",
        ),
        (f"authorization: Bearer {LETTERS[:30]}", "authorization: Bearer [redacted: bearer token]"),
        (
            f"aws_secret_access_key = '{LETTERS[:40]}'",
            "aws_secret_access_key = '[redacted: AWS key]'",
        ),
    ],
)  # fmt: skip
def test_only_the_secret_of_an_address_or_assignment_is_cut(text: str, expected: str) -> None:
    assert REDACTION.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Please ask-for-permission before the task-management-system-0123456789 is changed.",
        "def tokens(self, password: str) -> None: self.api_key = get_key()",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "01a2226d-e2fc-756e-abff-b15e225e8d7b",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert REDACTION.text(text) == text


def test_document_without_a_secret_keeps_its_bytes() -> None:
    document = b'{"a" : 1.50, "b":"\\u0041\\/ \xff", "c":[ ]}'

    assert REDACTION.document(document) == document


def test_document_with_a_secret_keeps_the_bytes_of_all_other_values() -> None:
    secret = SECRETS["Anthropic key"]
    document = b'{"n" : 1.50,\n "s": "\\u0041", "key":"%b"}' % secret.encode()

    redacted = REDACTION.document(document)

    assert redacted == b'{"n" : 1.50,\n "s": "\\u0041", "key":"[redacted: Anthropic key]"}'


def test_values_inside_json_are_redacted() -> None:
    given = {"command": [f"curl -H 'x-api-key: {SECRETS['Anthropic key']}'", 1, None, True]}

    assert REDACTION.value(given) == {
        "command": ["curl -H 'x-api-key: [redacted: Anthropic key]'", 1, None, True]
    }


def test_credential_of_the_request_is_cut_whatever_it_looks_like() -> None:
    for redaction in (REDACTION, Redaction(is_on=False)):
        text = redaction.text("it is my-own-key.", ["my-own-key"])
        document = redaction.document(b'["my-own-key"]', ["my-own-key"])

        assert text == "it is [redacted: credential of the request]."
        assert json.loads(document) == ["[redacted: credential of the request]"]


def test_redaction_that_is_off_keeps_everything_else() -> None:
    off = Redaction(is_on=False, own=[OwnRule("badge", "B-[0-9]{4}")])

    assert off.text(f"B-1234 {SECRETS['AWS key']}") == f"B-1234 {SECRETS['AWS key']}"


def test_own_rules_are_applied_beside_the_built_in_ones() -> None:
    redaction = Redaction(own=[OwnRule("badge", "B-[0-9]{4}")])

    assert redaction.text("B-1234") == "[redacted: badge]"
    assert redaction.document(b'["B-1234"]') == b'["[redacted: badge]"]'


def test_fingerprint_differs_between_settings() -> None:
    redaction = Redaction()
    seen = {redaction.fingerprint}
    for is_on, own in ((False, []), (True, [OwnRule("badge", "B-[0-9]{4}")])):
        redaction.use(is_on=is_on, own=own)
        seen.add(redaction.fingerprint)

    assert len(seen) == 3
    assert Redaction().fingerprint in seen


@pytest.mark.parametrize("filler", ["x ", "x", "a1"], ids=["words", "one word", "data"])
def test_secret_is_found_anywhere_in_a_long_text(filler: str) -> None:
    secret = SECRETS["Anthropic key"]
    for before in (0, WINDOW - 20, WINDOW, 3 * WINDOW):
        text = (filler * before)[:before] + f" {secret} " + filler * WINDOW

        assert secret not in REDACTION.text(text)


def test_windows_join_to_the_text() -> None:
    text = ("word " * 5000) + "x" * 50_000 + "\n"

    assert "".join(windows(text)) == text
    assert max(map(len, windows(text))) <= WINDOW


@pytest.mark.parametrize("pattern", ["(a+)+b", "(?:x*y*)*z", "([a-z]+-?)*!", "((a|b)*c)*d"])
def test_own_pattern_that_could_take_exponential_time_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="exponential"):
        check_own_pattern(pattern)


@pytest.mark.parametrize(("pattern", "reason"), [("(", "regular expression"), ("a*", "empty text")])
def test_own_pattern_that_cannot_work_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_own_pattern(pattern)


@pytest.mark.parametrize("pattern", ["B-[0-9]{4}", "(?:ab){2,8}c+", r"\bfoo\w+", "a+b+"])
def test_plain_own_pattern_is_accepted(pattern: str) -> None:
    assert check_own_pattern(pattern) == pattern


HOSTILE = [
    "://a:" * 40,
    "-----BEGIN PRIVATE KEY-----1",
    "//x/:_authToken=",
    "eyJaaaaaaaaaaaaaaa.",
    "aws key aws key 0123456789012345",
    "bearer 01234567890123456789 ",
    "sk-proj-0123456789012345-",
    "?key=?key=?key=1234567",
    "xoxb-1-1-1-1-1-",
    '\\"\\"',
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_cpu_time_of_redaction_grows_linearly_with_hostile_text(piece: str) -> None:
    def cpu_seconds(size: int) -> float:
        document = json.dumps([(piece * size)[:size]]).encode()
        started = time.process_time()
        REDACTION.document(document)
        return time.process_time() - started

    short = min(cpu_seconds(20_000) for _ in range(3)) + 0.001
    assert cpu_seconds(160_000) / short < 24


MCP_TOOL = {
    "type": "mcp",
    "server_url": "https://mcp.example",
    "authorization": "plain words",
    "headers": {"X-Team": "a word that is secret", "X-On": "true"},
}
MCP_SERVER = {"type": "url", "url": "https://mcp.example", "authorization_token": "plain words"}


@pytest.mark.parametrize("given", [MCP_TOOL, MCP_SERVER], ids=["openai", "anthropic"])
def test_credentials_for_mcp_servers_are_cut_whatever_they_look_like(given: object) -> None:
    document = json.dumps({"tools": [given], "input": "Say plain words."}).encode()
    redacted = json.loads(REDACTION.document(document))
    text = json.dumps(redacted["tools"])
    assert "plain words" not in text
    assert "a word that is secret" not in text
    assert "https://mcp.example" in text
    assert redacted["input"] == "Say plain words."
    assert json.dumps(REDACTION.value(given)).count("plain words") == 0


def test_member_that_is_named_like_a_secret_and_is_no_text_stays() -> None:
    schema = {"properties": {"authorization": {"type": "string"}, "cookie": {"type": "string"}}}
    document = json.dumps(schema).encode()
    assert REDACTION.document(document) == document
    assert REDACTION.value(schema) == schema


def test_named_members_stay_if_redaction_is_off() -> None:
    document = json.dumps(MCP_TOOL).encode()
    assert Redaction(is_on=False).document(document) == document
