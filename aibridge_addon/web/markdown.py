"""Markdown of prompts and responses as HTML. All of it is hostile input.

Raw HTML is shown as text, images are not loaded, and links lead only to web and mail addresses.
"""

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

MOST_CHARACTERS = 40_000
"""Longer texts are shown as they are: parsing takes too long."""
_SCHEMES = ("http://", "https://", "mailto:")


class _Renderer(RendererHTML):
    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Show an image as its text and address."""
        token = tokens[idx]
        address = str(token.attrs.get("src", ""))
        return str(escape(f"[image: {token.content} {address}]"))

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        """Open a link in a new tab, which learns nothing of this page."""
        tokens[idx].attrSet("target", "_blank")
        tokens[idx].attrSet("rel", "noopener noreferrer nofollow")
        return self.renderToken(tokens, idx, options, env)


def _make_parser() -> MarkdownIt:
    options: dict[str, Any] = {"html": False, "linkify": False, "breaks": True}
    parser = MarkdownIt("commonmark", options, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    parser.validateLink = _is_allowed  # type: ignore[method-assign]
    return parser


def _is_allowed(url: str) -> bool:
    return url.strip().lower().startswith(_SCHEMES)


_parser = _make_parser()


def markdown(text: str) -> Markup:
    """Return a text as HTML."""
    if len(text) > MOST_CHARACTERS:
        return Markup("<pre>{}</pre>").format(text)
    return Markup(_parser.render(text))  # noqa: S704 the parser escapes everything
