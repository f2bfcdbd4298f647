"""Signing in with an access token or a one-time link, and signing out."""

from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from aibridge_addon.access.tokens import TokenError
from aibridge_addon.web.access import set_cookie
from aibridge_addon.web.site import Site, site_of

_MOST_BYTES = 8192
"""Size limit of the login form."""


async def login(request: Request) -> Response:
    """Show the login form, or sign in with an access token."""
    site = site_of(request)
    target = local_path(request.query_params.get("next", "/"))
    if request.method != "POST":
        return _form(site, request, target)
    try:
        text = await _read_token(request)
        session_id = await site.doorkeeper.sign_in(text)
    except TokenError as error:
        return _form(site, request, target, str(error), 403)
    response = RedirectResponse(target, 303)
    set_cookie(request, response, session_id)
    return response


async def link(request: Request) -> Response:
    """Sign in the operator with a one-time link.

    The response is a page that moves on by itself: after a redirect from another site's link, a
    browser would not send a cookie that is `SameSite=Strict`.
    """
    site = site_of(request)
    if not site.links.redeem(request.query_params.get("key", "")):
        if await site.doorkeeper.find(request):
            return RedirectResponse("/", 303)
        message = "This link was used already, or has expired."
        return _form(site, request, "/", message, 403)
    response = site.render(request, "signed_in.html")
    set_cookie(request, response, site.doorkeeper.sign_in_operator())
    return response


async def logout(request: Request) -> Response:
    """Sign out."""
    site_of(request).doorkeeper.sign_out(request)
    return RedirectResponse("/login", 303)


def local_path(target: str) -> str:
    r"""Return a path of this page; `/` for anything that leads a browser elsewhere.

    Browsers read `//host` and `/\host` as another site, and skip tabs and line breaks.
    """
    is_local = target.startswith("/") and target[1:2] not in ("/", "\\") and target.isprintable()
    return target if is_local else "/"


def _form(
    site: Site, request: Request, target: str, error: str = "", status: int = 200
) -> Response:
    return site.render(request, "login.html", {"target": target, "error": error}, status)


async def _read_token(request: Request) -> str:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise TokenError("unknown_token", "this is not an access token.")
    except ClientDisconnect:
        pass
    return parse_qs(body.decode("latin-1")).get("token", [""])[0]
