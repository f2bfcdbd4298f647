"""Composition root: builds the components from `Settings`, applies a reload, and shuts them down.

Only this module decides which components exist. The hooks are in `addon`, settings in `config`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from mitmproxy.options import Options

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.connection_limit import ConnectionLimit
from aibridge_addon.access.cors import CrossOriginSharing
from aibridge_addon.access.egress import Egress
from aibridge_addon.access.first_request_timeout import FirstRequestTimeout
from aibridge_addon.access.jwt.verifier import JWTVerifier
from aibridge_addon.access.listening import check_not_open, listened_names
from aibridge_addon.config.settings import Settings
from aibridge_addon.exchange.background import BackgroundResponses
from aibridge_addon.exchange.captured_contents import CapturedContents
from aibridge_addon.exchange.commit import CommitWait
from aibridge_addon.exchange.early_refusals import EarlyRefusals
from aibridge_addon.exchange.edits import edits_of
from aibridge_addon.exchange.follow_up import FollowUps
from aibridge_addon.exchange.head_reader import HeadReader
from aibridge_addon.exchange.intake import Intake
from aibridge_addon.exchange.keys_and_retries import KeysAndRetries
from aibridge_addon.exchange.live import LiveRequests
from aibridge_addon.exchange.model_edits import ModelEdits
from aibridge_addon.exchange.policy_check import PolicyCheck
from aibridge_addon.exchange.policy_set import PolicySet
from aibridge_addon.exchange.reception import Reception
from aibridge_addon.exchange.record_maker import RecordMaker
from aibridge_addon.exchange.stream_bridge import StreamBridge
from aibridge_addon.exchange.tool_servers import CentralServers
from aibridge_addon.exchange.tunnels import Tunnels
from aibridge_addon.exchange.typed_prompts import TypedPrompts
from aibridge_addon.exchange.unrecorded_usage import UnrecordedUsage
from aibridge_addon.exchange.websocket_intake import WebSocketIntake
from aibridge_addon.fact_bus import FactBus
from aibridge_addon.facts import UsagePriced
from aibridge_addon.observe.announcement import data_folder
from aibridge_addon.observe.descriptors import ShortageLog, limit_accept_retries
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.listener import Listener
from aibridge_addon.observe.metrics import Metrics
from aibridge_addon.observe.presence import Presence
from aibridge_addon.providers.routing import Router
from aibridge_addon.relay.connection_handlers import close_client
from aibridge_addon.relay.held_bodies import HeldBodies
from aibridge_addon.relay.next_layer import NextLayer
from aibridge_addon.report.earlier import earlier_requests
from aibridge_addon.store import open_store, recorder
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.protocol import Retention
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.redacted_recorder import RedactedRecorder
from aibridge_addon.telemetry.alerts.outbox import outbox_beside
from aibridge_addon.telemetry.outputs import Outputs
from aibridge_addon.tools.attempts import Attempts
from aibridge_addon.tools.ledger import Ledger
from aibridge_addon.views.flow_views import FlowViews


class Components:
    """Holds all components, from the start to the end.

    Raises:
        StoreError: the store or the recorder cannot work as configured.
        TelemetryError: the exporter of traces cannot be made.
        OpenProxyError: the proxy could be used without authentication.
        OSError: the metrics' address cannot be listened on.
    """

    reception: Reception

    def __init__(self, settings: Settings, options: Options, is_ready: Callable[[], bool]) -> None:
        self._options = options
        self._is_ready = is_ready
        self._facts = FactBus()
        self._loop = asyncio.get_running_loop()
        self.metrics = Metrics(
            label_values=settings.metrics_label_values,
            initiators=settings.metrics_initiators,
            tools=settings.metrics_tools,
        )
        self.views = FlowViews(lambda: self.router)
        self._build_access(settings)
        self._contents = CapturedContents(options, self.admission)
        redaction = self._contents.redaction
        self._preparation = Preparation(settings.prices, self._publish_priced, redaction)
        self._build_exchanges()
        self._outputs = Outputs(
            otel=settings.otel,
            redact=redaction.text_of if settings.otel_content else None,
            is_recording=lambda: self._recorder.available,
            on_alert=self.metrics.count_alert,
            outbox=outbox_beside(self._store.location, data_folder()),
            has_earlier=None if settings.recorder else earlier_requests(self._store.reports),
        )
        self._start_recorder(settings)
        self._presence = Presence(self._facts.publish, lambda: len(self.live))
        self._subscribe(settings)
        self.apply(settings)
        self._presence.start()
        self._policies.share_limits(None if settings.recorder else self._store.reports)

    def apply(self, settings: Settings) -> None:
        """Apply settings; exchanges that are under way keep those that they began with."""
        self._commit.seconds = settings.commit_wait
        self._contents.apply(settings)
        self.background.capture = self._contents.words
        self._preparation.prices = settings.prices
        self.views.limit(settings.kept_flows, settings.kept_flow_bytes)
        self._apply_access(settings)
        self._outputs.apply(settings.webhooks)
        self._keys_and_retries.apply(settings)
        self._policies.apply(settings, own_hosts=listened_names(self._options))
        models = ModelEdits(settings.model_rules)
        self.cross_origin = CrossOriginSharing(self._policies.browser_origin)
        self.reception = Reception(
            self.live,
            admission=self.admission,
            heads=HeadReader(
                settings,
                cross_origin=self.cross_origin,
                check_admission=self.admission.check,
                metrics=self.metrics,
            ),
            intake=self._build_intake(settings, models),
            edits=edits_of(
                settings,
                models=models,
                attach=self.background.attach,
                central=self._servers.use(settings),
                signing=self._keys_and_retries.signing,
            ),
            refusals=self._early_refusals,
            metrics=self.metrics,
        )

    @property
    def router(self) -> Router:
        """Finds the provider instances of hosts and paths."""
        return self.reception.heads.router

    def close(self) -> Awaitable[None] | None:
        """Store what is published, and stop; return what must be awaited, if anything."""
        self._presence.stop()
        self._policies.close()
        self._commit.close()
        self._close_listener()
        self._shortage_log.remove()
        self.tunnels.end_all()
        self._recorder.close()
        self._keys_and_retries.close()
        self._outputs.close()
        self._jwts.close()
        # A task, since mitmproxy awaits this at its end, but not where a script is reloaded.
        stopping = self._servers.stop()
        return asyncio.ensure_future(stopping) if stopping else None

    # Built once

    def _build_access(self, settings: Settings) -> None:
        self._store = open_store(settings.database)
        self._jwts = JWTVerifier(on_fetch=self.metrics.count_jwks_fetch)
        self.admission = AdmissionControl(self._store, settings.token_rule, self._jwts)
        if not settings.allow_open:
            check_not_open(self._options, requires_token=self.admission.requires_token)
        self.egress = Egress(on_refused=self._count_refused)
        self.connections = ConnectionLimit(on_refused=self._count_refused)
        self.first_request = FirstRequestTimeout(close=close_client, on_refused=self._count_refused)
        self.tunnels = Tunnels(
            self.admission, self._facts.publish, self.first_request, self.metrics
        )

    def _build_exchanges(self) -> None:
        self.live = LiveRequests()
        self.held = HeldBodies()
        self._early_refusals = EarlyRefusals(self.metrics)
        self._keys_and_retries = KeysAndRetries(self.metrics, lambda: self._outputs)
        self._policies = PolicySet(
            admission=self.admission,
            can_record=lambda: self._recorder.available,
            find_book=lambda: self._recorder.budget_book(),
            open_limit_book=self._store.limit_book,
            on_budget_warning=lambda warning: self._outputs.report_budget(warning),
            find_key_pool=self._keys_and_retries.pools.find,
            on_trip=lambda key, trips: self._outputs.report_circuit(*key, trips),
            metrics=self.metrics,
        )
        self._unrecorded_usage = UnrecordedUsage(self.metrics)
        self._typed_prompts = TypedPrompts()
        self.bridge = StreamBridge(
            self.live,
            egress=self.egress,
            held=self.held,
            refusals=self._early_refusals,
            is_ours=lambda flow: self.reception.heads.is_ours(flow),
            second_attempt=self._keys_and_retries.attempt,
        )
        self._keys_and_retries.connect(
            bridge=self.bridge,
            register=self.live.registered,
            check_upstream=self._policies.decide_upstream,
        )
        self._follow_ups = FollowUps(
            bridge=self.bridge,
            register=self.live.registered,
            check_upstream=self._policies.decide_upstream,
            pools=self._keys_and_retries.pools,
            metrics=self.metrics,
            attach=self.views.attach,
        )
        self.next_layer = self._build_next_layer()

    def _build_next_layer(self) -> NextLayer:
        return NextLayer(
            self.bridge,
            is_provider_host=lambda host: self.router.is_provider_host(host),
            allows_tunnel=self.admission.allows_tunnel,
            on_tunnel=self.tunnels.open,
            on_refused=self._count_refused,
        )

    def _start_recorder(self, settings: Settings) -> None:
        self._recorder = self._build_recorder(settings)
        self._listener = self._build_listener(settings)
        try:
            self._recorder.start()
        except BaseException:
            self._close_listener()
            raise
        self._commit = CommitWait(self._recorder.kept, self.metrics)
        self._shortage_log = ShortageLog()
        self._shortage_log.install()
        limit_accept_retries(self._loop)
        remember, find = self._recorder.record_hidden_turns, self._recorder.find_hidden_turns
        self._keys_and_retries.fallbacks.homes.share(remember=remember, find=find)
        self._servers = CentralServers(
            ledger=Ledger(remember=remember, find=find),
            attempts=Attempts(remember=remember, find=find),
            follow_ups=self._follow_ups,
            refused_edits=self._keys_and_retries.last_resort.refused_edits,
            metrics=self.metrics,
        )

    def _subscribe(self, settings: Settings) -> None:
        self.background = BackgroundResponses(
            find=self._recorder.find_background_response,
            publish=self._facts.publish,
            commit=self._commit.wait,
            return_to=self._keys_and_retries.pools.return_to,
        )
        for handlers in (
            recorder.fact_handlers(self._recorder),
            self.metrics.handlers,
            self.background.handlers,
            self._typed_prompts.handlers,
            self.views.handlers,
            self._presence.handlers,
            *self._policies.handlers,
            *self._keys_and_retries.handlers,
            *self._outputs.handlers,
        ):
            self._facts.subscribe(handlers)

    def _build_recorder(self, settings: Settings) -> Recorder:
        if settings.recorder:
            return RedactedRecorder(recorder.load(settings.recorder), self._contents.redaction)
        retention = Retention(
            interceptions=settings.retention_days,
            hidden_turns=settings.tool_memory_days,
            content=settings.content_days,
        )
        return self._store.make_recorder(retention, self.metrics.count_records, self._preparation)

    def _build_listener(self, settings: Settings) -> Listener | None:
        if (address := settings.metrics_listen) is None:
            return None
        return Listener(address, self.metrics.registry, self.health, self._is_ready)

    def _close_listener(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None

    # Rebuilt by other settings

    def _apply_access(self, settings: Settings) -> None:
        self.admission.rule = settings.token_rule
        self.tunnels.known_actors = settings.actors
        self._jwts.apply(settings.jwt_issuers, self._options.ssl_verify_upstream_trusted_ca)
        self.egress.allow(
            providers=settings.providers,
            networks=settings.private.networks,
            hosts=settings.private.hosts,
        )
        self.connections.most = settings.max_connections
        self.connections.most_per_address = settings.max_connections_per_address
        self.first_request.seconds = settings.first_request_seconds
        self.held.most = settings.held_bodies
        self.bridge.relay_directly(settings.direct)

    def _build_intake(self, settings: Settings, models: ModelEdits) -> Intake:
        policies = PolicyCheck(settings, self._policies, self.live, self.metrics)
        records = RecordMaker(
            publish=self._facts.publish,
            capture=self._contents.words,
            typed_prompts=self._typed_prompts,
            attach=self.views.attach,
            credentials=self._contents.redaction.credentials,
        )
        return Intake(
            settings,
            policies=policies,
            records=records,
            websockets=WebSocketIntake(
                policies=policies,
                records=records,
                models=models,
                keys=self._keys_and_retries.pools,
                refresh=self.admission.refresh,
                commit=self._commit.wait,
            ),
            metrics=self.metrics,
            count_usage=self._unrecorded_usage.count,
            keys=self._keys_and_retries.pools,
            fallbacks=self._keys_and_retries.fallbacks,
            commit=self._commit.wait,
        )

    # Callbacks between components

    def _count_refused(self, reason: str) -> None:
        """Count a refusal without a provider."""
        self.metrics.count_refused("", reason)

    def _publish_priced(self, facts: Sequence[UsagePriced]) -> None:
        """Publish prices on the event loop; called on the recorder's thread."""
        for fact in facts:
            self._preparation.calls.add(self._loop, partial(self._facts.publish, fact))

    def health(self) -> Health:
        """Return the health now."""
        servers, keys = self._servers.status(), self._keys_and_retries.pools.states()
        can_record, limits = self._recorder.available, self._policies.limits_state()
        return Health.now(can_record=can_record, servers=servers, keys=keys, limits=limits)
