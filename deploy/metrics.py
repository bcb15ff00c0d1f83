"""Figures for Prometheus, of the policy server and of the control loop, at http://127.0.0.1:PORT/metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric

from deploy.wire import PolicyInfo

if TYPE_CHECKING:
    from deploy.log.entries import Entry

LOOPBACK = "127.0.0.1"
# s; a frame of 64×64 takes about 0.15 ms in the network and 0.3 ms there and back, an action must come within 50 ms
BUCKETS_S = (1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15)
STATES = ["standby", "driving", "degraded", "safe_stop", "e_stop"]


class MetricsError(Exception):
    """The port for the metrics cannot be had."""

    exit_code = 2


@contextmanager
def exposed(registry: CollectorRegistry, port: int) -> Iterator[str]:
    """Answer Prometheus from a thread, on loopback alone; yields the address. Raises MetricsError."""
    try:
        server, thread = start_http_server(port, LOOPBACK, registry)
    except (OSError, OverflowError) as error:
        raise MetricsError(f"metrics port {port} cannot be used ({error}); choose another") from error
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class ServerMetrics:
    """What a policy server does; it counts most of it anyway, which is only read when Prometheus asks."""

    def __init__(self, messages: dict[str, int], reloads: Mapping[str, int], info: Callable[[], PolicyInfo]) -> None:
        """messages: the server's counts, by kind. reloads: how many policies were "accepted" and "refused"."""
        self.registry = CollectorRegistry()
        self._messages, self._reloads, self._info = messages, reloads, info
        self._inference = Histogram(
            "lapwing_server_inference_seconds",
            "Time that the network took for a frame",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.inferred = self._inference.observe
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for, see `prometheus_client.registry.Collector`."""
        messages = CounterMetricFamily("lapwing_server_messages", "What became of messages, by kind", labels=["kind"])
        for kind, number in self._messages.copy().items():
            messages.add_metric([kind], number)
        reloads = CounterMetricFamily("lapwing_server_reloads", "Policies found in the file, by fate", labels=["fate"])
        for fate in ("accepted", "refused"):
            reloads.add_metric([fate], self._reloads[fate])
        info = self._info()
        known = {"policy_id": info.policy_id, "run": info.spec.run, "session": str(info.session)}
        yield from (messages, reloads, InfoMetricFamily("lapwing_server_policy", "The policy that serves", known))


class LoopMetrics:
    """What a control loop does; `saw` wants to be told of every tick."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._ticks = Counter("lapwing_drive_ticks", "Control cycles", registry=registry)
        self._missed = Counter("lapwing_drive_missed_deadlines", "Cycles without a valid action", registry=registry)
        self._faults = Counter("lapwing_drive_faults", "Cycles with a fault, by kind", ["kind"], registry=registry)
        self._state = Enum("lapwing_drive_state", "State of the safety machine", states=STATES, registry=registry)
        self._speed = Gauge("lapwing_drive_speed_mps", "Speed as measured", registry=registry)
        self._round_trip = self._histogram("round_trip", "From the question to the policy's answer")
        self._inference = self._histogram("inference", "The part of it that the network took")
        self._lateness = self._histogram("lateness", "How late cycles began")

    def saw(self, entry: "Entry") -> None:
        """Count a control cycle."""
        self._ticks.inc()
        self._missed.inc(entry.action is None)
        self._state.state(entry.safety)
        self._speed.set(entry.speed_mps)
        if entry.fault:
            self._faults.labels(entry.fault.kind).inc()
        for histogram, took_ms in (
            (self._round_trip, entry.round_trip_ms),
            (self._inference, entry.inference_ms),
            (self._lateness, entry.lateness_ms),
        ):
            if took_ms is not None:
                histogram.observe(took_ms / 1e3)

    def _histogram(self, what: str, help_text: str) -> Histogram:
        return Histogram(f"lapwing_drive_{what}_seconds", help_text, buckets=BUCKETS_S, registry=self.registry)
