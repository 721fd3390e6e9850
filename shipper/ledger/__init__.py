"""The on-host account of a life: streams, cursors, requests in flight and counts, in one SQLite file."""

from shipper.ledger.ledger import Ledger
from shipper.ledger.rows import (
    Counts,
    Cursor,
    DestinationAccount,
    Loss,
    OpenRequest,
    Settlement,
    StreamAccount,
    StreamRow,
)
from shipper.ledger.thread import LedgerThread

__all__ = [
    "Counts",
    "Cursor",
    "DestinationAccount",
    "Ledger",
    "LedgerThread",
    "Loss",
    "OpenRequest",
    "Settlement",
    "StreamAccount",
    "StreamRow",
]
