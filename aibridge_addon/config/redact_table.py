"""Regular expressions of the config file for secrets in the record, `[[redact]]`."""

from typing import Annotated

import pydantic

from aibridge_addon.config.validation import TABLE
from aibridge_addon.redaction import check_own_pattern


class RedactTable(pydantic.BaseModel):
    """A kind of secret to cut out of the record, `[[redact]]`."""

    model_config = TABLE

    name: Annotated[str, pydantic.StringConstraints(pattern=r"^[^\[\]\\\"]{1,64}$")]
    pattern: Annotated[str, pydantic.AfterValidator(check_own_pattern)]
