"""Prometheus metrics: what the service counted, how long requests took, what is served."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from homing.decisions import DecisionService
from serving.http import Response

#: Name in the service's tally → help, labels. All of them stand in /metrics from the start, at 0 where unlabelled.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "decisions": (
        "Decisions made, by slice, policy and channel (silence: nothing sent).",
        ("slice", "policy", "channel"),
    ),
    "guard_hits": ("Candidates masked, by guard.", ("guard",)),
    "fallbacks": ("Decisions that the policy could not make: silence with propensity 1.", ("reason",)),
    "outcomes": ("Outcomes received: accepted, duplicate or conflict.", ("result",)),
    "policy_refreshes": ("Times that another champion was taken over.", ()),
    "policy_refresh_failures": ("Lookups of the champion that failed; the old policy goes on.", ()),
    "prices_refreshes": ("Times that other prices were taken over.", ()),
    "prices_refresh_failures": ("Lookups of the prices that failed; the old ones go on.", ()),
    "exported_rows": ("Rows exported to the decision log, by table.", ("table",)),
    "export_failures": ("Exports that failed; the rows stay in the ledger.", ()),
}


class Metrics:
    """One registry for one service, so that several services can live in one process."""

    def __init__(self, service: DecisionService) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        self._registry.register(self)  # type: ignore[arg-type]
        self._requests = Counter(
            "homing_http_requests", "HTTP requests, by route and status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "homing_http_request_seconds",
            "Time to answer, by route.",
            ("route",),
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def response(self) -> Response:
        """The text that Prometheus scrapes."""
        return Response(200, generate_latest(self._registry), CONTENT_TYPE_LATEST)

    def describe(self) -> Iterable[Metric]:
        """Nothing: spares Prometheus a collection at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """What the service counted so far, and what it serves."""
        counts = self._service.tally.snapshot()
        for name, (text, labels) in COUNTERS.items():
            family = CounterMetricFamily(f"homing_{name}", text, labels=labels)
            for (key, values), count in counts.items():
                if key == name:
                    family.add_metric([dict(values)[label] for label in labels], count)
            if not labels and not family.samples:
                family.add_metric([], 0)
            yield family
        rows = GaugeMetricFamily("homing_ledger_rows", "Rows in the ledger, by table.", labels=("table",))
        for table, count in self._service.ledger.counts().items():
            rows.add_metric([table], count)
        yield rows
        model = self._service.model
        served = GaugeMetricFamily(
            "homing_policy_info", "1 for the policy that is served.", labels=("policy", "digest")
        )
        served.add_metric([model.label, model.artifact.digest], 1)
        yield served
