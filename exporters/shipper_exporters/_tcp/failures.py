"""What a failure of a TCP or TLS connection means, and who it may be that answers there instead."""

from __future__ import annotations

import ssl

from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._http.exchange import NoAnswer, excerpt
from shipper_exporters._tcp.link import Broken
from shipper_exporters._way.failures import NOT_TLS, TLS_ALERT, tls_failure
from shipper_exporters._way.words import plain

_HTTP = b"HTTP/"


def failure(error: OSError, where: str, *, unsent: bool = False, silent: bool = False) -> DeliveryError:
    """What a failure below the protocol means; ``where`` is the server, for the sentence. ``unsent``: see `Retryable`.

    ``silent``: nothing ever came over the connection. A server that wants TLS, or refuses us for another reason that these
    protocols have no word for, ends it just as one does that is restarted.
    """
    cause = error.cause if isinstance(error, Broken) else error
    perhaps = " (if it always does: does it expect TLS, or not know us?)" if silent else ""
    if cause is None:
        return Retryable(f"{where}: closed the connection before it acknowledged{perhaps}", unsent=unsent)
    if isinstance(cause, ssl.SSLError):
        if cause.reason in NOT_TLS:
            return Unusable(f"{where}: does not speak TLS; without it the endpoint begins with tcp://")
        return tls_failure(cause, where, unsent=unsent)
    return Retryable(f"{where}: the connection broke: {plain(cause)}{perhaps}", unsent=unsent)


def unreachable(error: OSError, where: str) -> DeliveryError:
    """What a failure to connect means."""
    if isinstance(error, ssl.SSLError | Broken):
        return failure(error, where, unsent=True)
    return Retryable(f"{where}: cannot connect: {plain(error)}", unsent=True)


def stranger(said: bytes, where: str, protocol: str) -> Unusable:
    """Something answers that is not what we send to; ``said`` is the beginning of it."""
    if said.startswith(_HTTP):
        return Unusable(f"{where}: is a web server ({excerpt(said, 60)}), and does not speak {protocol}")
    if said.startswith(TLS_ALERT):
        return Unusable(f"{where}: speaks TLS; with it the endpoint begins with tls://")
    return Unusable(f"{where}: what answers there does not speak {protocol}: {excerpt(repr(said[:40]))}")


def several(errors: list[DeliveryError]) -> DeliveryError:
    """What it means that none of the servers can be used. Where one may be well by itself soon, that is waited for."""
    if len(errors) == 1:
        return errors[0]
    text = "; ".join(map(str, errors))
    if all(isinstance(error, Unusable) for error in errors):
        return Unusable(text)
    unsent = all(isinstance(error, Unusable) or (isinstance(error, Retryable) and error.unsent) for error in errors)
    if all(isinstance(error, NoAnswer | Unusable) for error in errors):
        return NoAnswer(text, unsent=unsent)
    return Retryable(text, unsent=unsent)
