"""The metrics of Shipper itself, all in one place: what an operator reads of it, and what `shipper.events` moves.

Apart from the events, which say in words what these count, so that either list can be read, and added to, by itself.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

EXPOSURE_BUCKETS = (0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics:
    """The sidecar's own metrics, in a registry of their own (names: ``shipper_<thing>_<unit>[_total]``)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        by_destination = ("destination",)
        self.exposure = Histogram(
            "shipper_exposure_seconds",
            "Time from a record being seen to its acknowledgement by the destination.",
            by_destination,
            buckets=EXPOSURE_BUCKETS,
            registry=r,
        )
        self.oldest = Gauge(
            "shipper_oldest_unacknowledged_seconds",
            "Age of the oldest record not yet acknowledged: what a sudden death would cost now.",
            by_destination,
            registry=r,
        )
        self.backlog = Gauge(
            "shipper_backlog_bytes", "Bytes written but not acknowledged.", ("destination", "stream"), registry=r
        )
        self.acknowledged = Counter(
            "shipper_acknowledged_records_total", "Records a destination said it has.", by_destination, registry=r
        )
        self.acknowledged_bytes = Counter(
            "shipper_acknowledged_bytes_total", "Source bytes a destination said it has.", by_destination, registry=r
        )
        self.requests = Counter(
            "shipper_requests_sent_total", "Requests by what became of them.", ("destination", "outcome"), registry=r
        )
        self.destination_up = Gauge(
            "shipper_destination_up", "0 where a destination fails just now, else 1.", by_destination, registry=r
        )
        self.retried = Counter(
            "shipper_retried_requests_total", "Requests sent again, by cause.", ("destination", "cause"), registry=r
        )
        self.quarantined = Counter(
            "shipper_quarantined_records_total",
            "Records set aside on disk, by cause.",
            ("destination", "cause"),
            registry=r,
        )
        self.rejected = Counter(
            "shipper_rejected_records_total", "Records refused in a partial success.", by_destination, registry=r
        )
        self.dropped = Counter(
            "shipper_dropped_records_total", "Records given up, by cause.", ("destination", "cause"), registry=r
        )
        self.lost_bytes = Counter(
            "shipper_lost_bytes_total", "Bytes destroyed before they could be read, by cause.", ("cause",), registry=r
        )
        self.skipped_bytes = Counter(
            "shipper_skipped_bytes_total",
            "Bytes of files that are no text, by cause: gaps that nobody wrote.",
            ("cause",),
            registry=r,
        )
        self.left_out = Counter(
            "shipper_left_out_records_total",
            "Records that a rule (drop, keep, sample) kept from a destination, by cause: filtered or sampled.",
            ("destination", "cause"),
            registry=r,
        )
        self.redacted = Counter(
            "shipper_redacted_secrets_total", "Secrets masked before they left, by pattern.", ("pattern",), registry=r
        )
        self.fallback_helping = Gauge(
            "shipper_fallback_helping",
            "1 while a fallback stands in for destinations that are down, or works for a drain.",
            ("destination",),
            registry=r,
        )
        self.unrouted = Counter(
            "shipper_unrouted_records_total",
            "Records that went nowhere because every destination has a route, and none of these takes them.",
            ("signal",),
            registry=r,
        )
        self.not_taken = Counter(
            "shipper_not_taken_bytes_total",
            "Bytes that went nowhere because no destination takes their signal.",
            ("signal",),
            registry=r,
        )
        self.drain_state = Gauge(
            "shipper_drain_state", "1 for the state the sidecar is in, 0 for the others.", ("state",), registry=r
        )
        self.farewells = Counter(
            "shipper_farewells_total", "Farewells said, by how the drain ended.", ("outcome",), registry=r
        )
        self.drain_left = Gauge(
            "shipper_drain_left_bytes", "Bytes that the last farewell had to leave unacknowledged.", registry=r
        )
        self.notices = Gauge(
            "shipper_notices", "Notices that stand: word that this host will end, by kind.", ("kind",), registry=r
        )
        self.notice_source_up = Gauge(
            "shipper_notice_source_up",
            "1 where a platform could be asked the last time whether this host will end, else 0.",
            ("source",),
            registry=r,
        )
        self.received = Counter(
            "shipper_received_records_total", "Records taken in by a receiver.", ("receiver", "signal"), registry=r
        )
        self.refused = Counter(
            "shipper_refused_requests_total",
            "Requests a receiver did not take, by cause.",
            ("receiver", "cause"),
            registry=r,
        )
        self.unparsed = Counter(
            "shipper_unparsed_records_total",
            "Records that were not understood, by a receiver or in a file, and are kept as they are, by cause.",
            ("receiver", "cause"),
            registry=r,
        )
        self.duplicates = Counter(
            "shipper_duplicate_records_total",
            "Records that came again and were not stored twice.",
            ("receiver",),
            registry=r,
        )
        self.spool_bytes = Gauge("shipper_spool_bytes", "Bytes the spool holds on disk.", ("spool",), registry=r)
        self.problems = Counter(
            "shipper_problems_total", "Things that went wrong and were survived, by kind.", ("kind",), registry=r
        )
        self.scrape_up = Gauge(
            "shipper_scrape_up", "1 where a target could be read the last time, else 0.", ("target",), registry=r
        )
        self.service_lost = Counter(
            "shipper_service_lost_records_total",
            "Records that services lost before they had a position, by cause.",
            ("signal", "cause"),
            registry=r,
        )
        self.held_bytes = Gauge(
            "shipper_held_bytes",
            "Bytes of deleted and truncated files kept in the state directory until they are acknowledged.",
            registry=r,
        )
        self.open_files = Gauge("shipper_open_files", "Descriptors held by file tailing.", registry=r)
        self.streams = Gauge("shipper_streams", "Streams known and not yet retired.", registry=r)
