"""Contents that the record may hold by the current settings, and their redaction."""

import os
from collections.abc import Iterator

from mitmproxy.options import Options

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.listening import is_private
from aibridge_addon.config.capture import resolve_capture
from aibridge_addon.config.settings import Settings
from aibridge_addon.redaction import Redaction


class CapturedContents:
    """Renewed by `apply`; the redaction stays the same object."""

    def __init__(self, options: Options, admission: AdmissionControl) -> None:
        self.words = frozenset[str]()
        """Words of `aibridge_capture`, without `auto`."""
        self.redaction = Redaction()
        self._options = options
        self._admission = admission

    def apply(self, settings: Settings) -> None:
        """Apply settings to all requests that follow."""
        private = is_private(self._options, requires_token=self._admission.requires_token)
        self.words = resolve_capture(settings.capture, is_private=private)
        self.redaction.use(is_on=settings.redact, own=settings.own_redactions)
        self.redaction.credentials.keep(_central_keys(settings))


def _central_keys(settings: Settings) -> Iterator[str]:
    for provider in settings.providers:
        yield from filter(None, (key.secret(os.environ) for key in provider.central_keys))
