"""Options of metrics and telemetry, as rows of `options`."""

from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import at_least, read_address, read_otel

MONITORING = (
    Option(
        name="aibridge_metrics_listen",
        setting="metrics_listen",
        read=read_address,
        default="",
        help=(
            "Address to serve Prometheus metrics and a health page on, as host:port, such as"
            " 127.0.0.1:9464. Empty: off."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_metrics_initiators",
        setting="metrics_initiators",
        default=True,
        help="Label metrics with the actor.",
        fixed=True,
    ),
    Option(
        name="aibridge_metrics_tools",
        setting="metrics_tools",
        default=True,
        help="Label metrics with tool names.",
        fixed=True,
    ),
    Option(
        name="aibridge_metrics_label_values",
        setting="metrics_label_values",
        read=at_least(1),
        default=100,
        help=(
            "Maximum number of values of a metric label that clients choose (models, actors,"
            " tools). Further values are counted as 'other'."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_otel",
        setting="otel",
        read=read_otel,
        default=False,
        help=(
            "Export a trace of each interception with OpenTelemetry, by OTLP/HTTP to the endpoint"
            " that OTEL_EXPORTER_OTLP_ENDPOINT names. Needs the extra 'otel'."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_otel_content",
        setting="otel_content",
        default=False,
        help=(
            "Export prompts, responses and tool arguments with the traces, as far as"
            " aibridge_capture records them."
        ),
        fixed=True,
    ),
)
