"""Makes images of tool results legal for an API: their types, data and sizes. Pure.

An image that the API would refuse is replaced by a description with the reason.
"""

import base64
import binascii
from dataclasses import dataclass

from aibridge_addon.formats.central_tool import ResultPart

TYPES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
"""Image types that all APIs accept."""
_ALIASES = {
    "image/apng": "image/png",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
}
_URL_SAFE = str.maketrans("-_", "+/")
_SVG = "image/svg+xml"
_HEAD = 256 * 1024
"""Characters of base64 that are searched for the size of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """Limits of an API on an image."""

    characters: int
    """Most characters of base64."""
    pixels: int | None = None
    """Most pixels of each side; None where no limit is known."""

    def applied(self, part: ResultPart) -> ResultPart:
        """Return an image that the API accepts, or a description of it."""
        image = image_part(part.data, part.media_type)
        if image.kind != "image":
            return image
        if len(image.data) > self.characters:
            return described(image, f"larger than {self.characters}")
        longest = max(_sides(_decoded(image.data[:_HEAD])))
        if self.pixels is not None and longest > self.pixels:
            return described(image, f"{longest} pixels long, more than {self.pixels}")
        return image


def image_part(data: str, media_type: str) -> ResultPart:
    """Return an image of a type that APIs accept; for other types, its text or a description."""
    if data.startswith("data:"):
        media_type, _, data = data.removeprefix("data:").partition(",")
    data = "".join(data.split()).translate(_URL_SAFE).rstrip("=")
    data += "=" * (-len(data) % 4)
    kind = media_type.partition(";")[0].strip().lower()
    raw = _decoded(data)
    if kind == _SVG and raw:
        return ResultPart(kind="text", text=f"[{_SVG}]\n{raw.decode(errors='replace')}")
    # Labels are often wrong, and refused then: `image/jpg` over a PNG too.
    kind = _kind_of(raw) or _ALIASES.get(kind, kind)
    part = ResultPart(kind="image", data=data, media_type=kind)
    if not raw:
        return described(part, "not base64")
    return part if kind in TYPES else described(part, "of a type that models cannot see")


def described(image: ResultPart, why: str) -> ResultPart:
    """Return a description that replaces an image, with the reason."""
    size = len(image.data)
    text = f"[{image.media_type or 'unknown'} image, {size} characters of base64, left out: {why}]"
    return ResultPart(kind="other", text=text)


def _decoded(data: str) -> bytes:
    """Return decoded base64; empty if it is invalid."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _kind_of(raw: bytes) -> str | None:
    """Return the type of an image by its first bytes."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return "image/webp"
    return None


def _sides(raw: bytes) -> tuple[int, int]:
    """Return width and height of an image; zeros if they are not found."""
    match _kind_of(raw):
        case "image/png":
            return int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24])
        case "image/gif":
            return int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")
        case "image/jpeg":
            return _sides_of_jpeg(raw)
        case "image/webp" if raw[12:16] == b"VP8X":
            width, height = raw[24:27], raw[27:30]
            return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    return 0, 0


def _sides_of_jpeg(raw: bytes) -> tuple[int, int]:
    """Find the frame header among the segments."""
    place = 2
    while place + 9 <= len(raw) and raw[place] == 0xFF:
        marker = raw[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = raw[place + 5 : place + 7], raw[place + 7 : place + 9]
            return int.from_bytes(width), int.from_bytes(height)
        place += 2 + int.from_bytes(raw[place + 2 : place + 4])
    return 0, 0
