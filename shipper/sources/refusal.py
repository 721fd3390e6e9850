"""Why a receiver does not take a request, in one place: the HTTP status, the gRPC code in the body, the metric's cause."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shipper.errors import ShipperError

INVALID_ARGUMENT = 3  # google.rpc.Code
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16


class Refusal(ShipperError):
    """A request is not taken; nothing of it was stored.

    ``cause`` is a fixed word, a metric label; ``headers`` are those that HTTP asks for with this status.
    """

    def __init__(
        self, status: int, code: int, cause: str, message: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.cause = cause
        self.headers = headers


def bad(cause: str, message: str) -> Refusal:
    """The request is wrong and will be wrong again: 400, which no sender retries."""
    return Refusal(400, INVALID_ARGUMENT, cause, message)


def too_large(message: str) -> Refusal:
    """Larger than allowed: 413, upon which a Shipper sends halves."""
    return Refusal(413, RESOURCE_EXHAUSTED, "too_large", message)


def later(cause: str, message: str) -> Refusal:
    """Nothing is wrong with the request, but not now: 503, and the sender tries again in a second."""
    return Refusal(503, UNAVAILABLE, cause, message, {"Retry-After": "1"})
