"""Model ids of Amazon Bedrock in ARNs, which clients may send in place of the ids alone. Pure."""

from aibridge_addon.prices.billed_call import UnpriceableError

AWS = "aws"
"""Id of the seller whose models have such ids."""
_ARN = "arn:"
_NAMING = ("foundation-model", "inference-profile")
"""Kinds of resources whose names are model ids, with the prefix of the region or of all regions."""


def model_id(model: str) -> str:
    """Return the model id in an ARN; any other name as it is.

    Raises:
        UnpriceableError: the ARN names another kind of resource.
    """
    if not model.startswith(_ARN):
        return model
    kind, _, name = model.split(":", 5)[-1].partition("/")
    if kind in _NAMING and name:
        return name
    if kind == "application-inference-profile":
        raise UnpriceableError(
            "an application inference profile does not name its model; map it in `models` of the"
            " provider instance"
        )
    raise UnpriceableError("the ARN of the model does not name a model with a list price")
