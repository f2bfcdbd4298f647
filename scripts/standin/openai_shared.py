"""Headers and errors that OpenAI's APIs share."""

from standin.rendering import ID, encode

_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
}

HEADERS = (
    ("openai-organization", "standin"),
    ("openai-processing-ms", "7"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "1999000"),
)
REQUEST_ID_HEADER = "x-request-id"


def error_body(status: int, message: str) -> bytes:
    """Render an error."""
    kind, code = _ERRORS.get(status, ("server_error", None))
    message = f"{message} (request id: req_{ID})"
    return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})
