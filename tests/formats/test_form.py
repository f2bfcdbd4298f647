"""Tests of the reader of forms: exact for the forms of real clients, and strict with all others."""

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.form import UnreadableFormError, is_form, read_form, with_fields

TYPE = "multipart/form-data; boundary=b"


def part(name: str, value: bytes, more: str = "", head: str = "") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"{more}\r\n{head}\r\n'
    return b"--b\r\n" + disposition.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def fields(body: bytes, content_type: str = TYPE) -> Any:
    return json.loads(read_form(content_type, body))


MODEL = part("model", b"whisper-1")
AUDIO = part("file", b"\xff\x00\r\n--\r\n", '; filename="a.mp3"', "Content-Type: audio/mpeg\r\n")


def test_form_of_an_sdk_is_read_and_its_file_is_not() -> None:
    request = httpx2.Request(
        "POST",
        "https://api.openai.com/v1/audio/transcriptions",
        data={"model": "whisper-1", "stream": "true", "timestamp_granularities[]": ["word", "seg"]},
        files={"file": ("ä.mp3", b"\xff\x00" * 99, "audio/mpeg")},
    )
    assert fields(request.read(), request.headers["content-type"]) == {
        "model": "whisper-1",
        "stream": "true",
        "timestamp_granularities": ["word", "seg"],
        "file": {"filename": "ä.mp3", "media_type": "audio/mpeg", "bytes": 198},
    }


def test_repeated_files_are_joined() -> None:
    body = form(*(part("image[]", b"x" * n, '; filename="a"') for n in (1, 2)))
    assert [file["bytes"] for file in fields(body)["image"]] == [1, 2]


def test_repeated_field_stays_repeated_so_that_policies_see_it() -> None:
    assert read_form(TYPE, form(MODEL, part("model", b"o3"))) == (
        b'{"model":"whisper-1","model":"o3"}'
    )


def net_part(name: str, value: bytes, more: str = "", kind: str = "") -> bytes:
    """Return a part as .NET writes it: the type first, and names without quotes."""
    head = f"Content-Type: {kind}\r\n" if kind else ""
    return f"--b\r\n{head}Content-Disposition: form-data; name={name}{more}\r\n\r\n".encode() + (
        value + b"\r\n"
    )


PLAIN = "text/plain; charset="


@pytest.mark.parametrize(
    ("client", "content_type", "body"),
    [
        (
            ".NET",
            'multipart/form-data; boundary="b"',
            form(
                net_part("file", b"\xff\x00", "; filename=a.mp3; filename*=utf-8''a.mp3"),
                net_part("model", b"whisper-1", kind=PLAIN + "utf-8"),
            ),
        ),
        ("Spring", "multipart/form-data;charset=UTF-8;boundary=b", form(AUDIO, MODEL)),
        ("Apache's client", "multipart/form-data; boundary=b; charset=UTF-8", form(AUDIO, MODEL)),
        (
            "Apache's client, strict",
            TYPE,
            form(
                AUDIO,
                part(
                    "model",
                    b"whisper-1",
                    head=f"Content-Type: {PLAIN}ISO-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n",
                ),
            ),
        ),
        ("Ruby", TYPE, form(AUDIO, MODEL) + b"\r\n"),
    ],
)
def test_forms_of_other_languages_are_read(client: str, content_type: str, body: bytes) -> None:
    found = fields(body, content_type)
    assert (found["model"], found["file"]["filename"]) == ("whisper-1", "a.mp3"), client
    changed = with_fields(content_type, body, {"model": "o"})
    assert changed == body.replace(b"whisper-1", b"o")


@pytest.mark.parametrize(
    ("case", "body"),
    {
        "text before the first part": b"\r\n" + form(MODEL),
        "text after the last part": form(MODEL) + b"x",
        "no end": MODEL,
        "line feeds alone": form(MODEL).replace(b"\r\n", b"\n"),
        "a boundary in a file": form(MODEL, part("file", b"\n--b\n", '; filename="a"')),
        "a longer boundary": form(MODEL, part("file", b"\r\n--bb\r\n", '; filename="a"')),
        "an escaped name": form(part('mod\\"el', b"o3")),
        "a percent sign in a name": form(part("mod%65l", b"o3")),
        "two dispositions": form(
            part("a", b"o3", head='Content-Disposition: form-data; name="model"\r\n')
        ),
        "a folded header": form(part("a", b"o3", head="\tx\r\n")),
        "another header": form(part("a", b"o3", head="X-A: b\r\n")),
        "another charset": form(
            part("a", b"o3", head="Content-Type: text/plain;charset=utf-7\r\n")
        ),
        "a charset in which the text may be another": form(
            part("model", b"\xc3\xa4", head="Content-Type: text/plain; charset=iso-8859-1\r\n")
        ),
        "two names": form(net_part("model; name=x", b"o3")),
        "a name with a blank": form(net_part("a model", b"o3")),
        "more after the end": form(MODEL) + b"\r\n\r\n",
        "base64": form(part("a", b"bzM=", head="Content-Transfer-Encoding: base64\r\n")),
        "no UTF-8": form(part("model", b"\xff")),
        "a long text": form(part("model", b"x" * 300_000)),
        "too many parts": form(*[part("a", b"")] * 300),
        "nothing": b"",
        "JSON": b'{"model":"o3"}',
    }.items(),
)
def test_form_that_could_be_read_in_another_way_is_not_read(case: str, body: bytes) -> None:
    with pytest.raises(UnreadableFormError):
        read_form(TYPE, body)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; charset=utf-7; boundary=b",
        "multipart/mixed; boundary=b",
        'multipart/form-data; boundary="b',
    ],
)
def test_media_type_without_a_plain_boundary_is_not_read(content_type: str) -> None:
    with pytest.raises(UnreadableFormError):
        read_form(content_type, form(MODEL))


def test_media_type_of_forms_is_recognised_in_any_case() -> None:
    assert is_form("Multipart/Form-Data; boundary=x")
    assert not is_form("application/x-www-form-urlencoded")


def test_field_is_replaced_and_every_other_byte_stays() -> None:
    assert with_fields(TYPE, form(AUDIO, MODEL), {"model": "gpt-4o-transcribe", "x": "y"}) == (
        form(AUDIO, part("model", b"gpt-4o-transcribe"))
    )


@given(
    st.binary() | st.lists(st.sampled_from([MODEL, AUDIO, b"--b", b"\r\n", b"--"])).map(b"".join)
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for data in (body, form(body), form(part("a", body))):
        try:
            found = read_form(TYPE, data)
        except UnreadableFormError:
            continue
        assert isinstance(json.loads(found), dict)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary())
def test_text_beside_any_file_is_read_exactly(value: str, file: bytes) -> None:
    boundary = "b-5e3c0d"
    body = form(part("model", value.encode()), part("file", file, '; filename="f"'))
    body = body.replace(b"--b", f"--{boundary}".encode())
    if b"--b" in file or "--b" in value:
        return
    read = fields(body, f"multipart/form-data; boundary={boundary}")
    assert (read["model"], read["file"]["bytes"]) == (value, len(file))
