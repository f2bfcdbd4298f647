"""An image of a tool result is legal for the API that gets it, or described with the reason."""

import base64
from typing import Any

import pytest

from aibridge_addon.formats.central_tool import ResultPart
from aibridge_addon.formats.images import ImageLimits, image_part


def png(width: int = 1, height: int = 1) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\0" * 5


def jpeg(width: int, height: int) -> bytes:
    thumbnail = b"\xff\xe1" + (500).to_bytes(2) + b"\0" * 498
    frame = b"\xff\xc2" + (17).to_bytes(2) + b"\x08" + height.to_bytes(2) + width.to_bytes(2)
    return b"\xff\xd8" + thumbnail + frame + b"\0" * 20


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0" * 5


def webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + sides


def coded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


PNG = coded(png())


@pytest.mark.parametrize(
    ("media_type", "data", "expected"),
    [
        ("image/png", PNG, "image/png"),
        ("IMAGE/PNG; charset=binary", PNG, "image/png"),
        ("image/jpg", "AAAA", "image/jpeg"),
        ("image/jpg", PNG, "image/png"),
        ("image/x-png", coded(jpeg(1, 1)), "image/jpeg"),
        ("image/pjpeg", "AAAA", "image/jpeg"),
        ("image/webp", "AAAA", "image/webp"),
        ("image/png", coded(jpeg(1, 1)), "image/jpeg"),
        ("", PNG, "image/png"),
        ("application/octet-stream", coded(webp(1, 1)), "image/webp"),
        ("image/bmp", coded(gif(1, 1)), "image/gif"),
    ],
)
def test_media_type_is_one_that_apis_take(media_type: Any, data: Any, expected: Any) -> None:
    assert image_part(data, media_type) == ResultPart(kind="image", data=data, media_type=expected)


@pytest.mark.parametrize(
    "data",
    [
        PNG[:8] + "\n" + PNG[8:],
        f"data:image/png;base64,{PNG}",
        PNG.rstrip("="),
        PNG.translate(str.maketrans("+/", "-_")),
    ],
)
def test_data_is_plain_base64(data: Any) -> None:
    assert image_part(data, "image/png") == ResultPart(
        kind="image", data=PNG, media_type="image/png"
    )


@pytest.mark.parametrize(
    ("media_type", "data", "reason"),
    [
        ("image/bmp", "AAAA", "of a type that models cannot see"),
        ("image/tiff", "AAAA", "of a type that models cannot see"),
        ("", "AAAA", "of a type that models cannot see"),
        ("image/png", "", "not base64"),
        ("image/png", "###", "not base64"),
        ("image/png", "caf\xe9", "not base64"),
    ],
)
def test_image_that_apis_refuse_is_described(media_type: Any, data: Any, reason: Any) -> None:
    part = image_part(data, media_type)

    assert part.kind == "other"
    assert part.text.endswith(f"left out: {reason}]")


def test_svg_is_given_as_text() -> None:
    part = image_part(coded(b"<svg/>"), "image/svg+xml")

    assert part == ResultPart(kind="text", text="[image/svg+xml]\n<svg/>")


LIMITS = ImageLimits(characters=1000, pixels=8000)


@pytest.mark.parametrize("make", [png, jpeg, gif, webp])
def test_image_with_too_long_a_side_is_described(make: Any) -> None:
    within = ResultPart(kind="image", data=coded(make(8000, 10)), media_type="")
    beyond = ResultPart(kind="image", data=coded(make(10, 8001)), media_type="")

    assert LIMITS.applied(within).kind == "image"
    assert "8001 pixels long, more than 8000" in LIMITS.applied(beyond).text
    assert ImageLimits(characters=1000).applied(beyond).kind == "image"


def test_image_of_too_many_characters_is_described() -> None:
    large = ResultPart(kind="image", data="A" * 1004, media_type="image/png")

    assert "larger than 1000" in LIMITS.applied(large).text
    assert ImageLimits(characters=1004).applied(large) == large


def test_broken_image_is_left_to_the_provider() -> None:
    for raw in (png()[:10], jpeg(1, 1)[:4], b"\xff\xd8\xff\xe0\0\0" * 100):
        part = ResultPart(kind="image", data=coded(raw), media_type="image/png")
        assert LIMITS.applied(part).kind == "image"
