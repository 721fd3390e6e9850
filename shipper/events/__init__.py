"""Everything Shipper says about itself: one small type each, which emits its metric and its log line together.

A component never logs or counts by hand; it reports an event. So a line in the log always has its counter, each can be
found here, and a message that would repeat is said at most once a minute per subject (with how often it was held back).
"""

from shipper.events.delivering import Dropped, PartialSuccess, Quarantined, Retried
from shipper.events.event import Event, Problem, Said
from shipper.events.reading import BytesLost, NoticeSeen, NotRouted, NotTaken, Redacted, Skipped
from shipper.events.receiving import (
    ConnectionEnded,
    DuplicateRecords,
    MessagesDropped,
    Received,
    RecordsRefused,
    RequestRefused,
    ServiceLoss,
    Unparsed,
)
from shipper.events.reporter import REPEAT_SECONDS, Reporter
from shipper.own_metrics import Metrics

__all__ = [
    "REPEAT_SECONDS",
    "BytesLost",
    "ConnectionEnded",
    "Dropped",
    "DuplicateRecords",
    "Event",
    "MessagesDropped",
    "Metrics",
    "NotRouted",
    "NotTaken",
    "NoticeSeen",
    "PartialSuccess",
    "Problem",
    "Quarantined",
    "Received",
    "RecordsRefused",
    "Redacted",
    "Reporter",
    "RequestRefused",
    "Retried",
    "Said",
    "ServiceLoss",
    "Skipped",
    "Unparsed",
]
