"""What a failure below HTTP means, for every exporter alike: to be tried again, or for a person to mend."""

from __future__ import annotations

import ssl

import aiohttp

from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._way.words import excerpt, plain

# OpenSSL's X509_V_ERR_*
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = frozenset({62, 64})
# reasons for which a handshake ends that no later attempt changes
_CLIENT_CERTIFICATE = (
    *("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REVOKED"),
    *("UNSUPPORTED_CERTIFICATE", "ALERT_UNKNOWN_CA", "ACCESS_DENIED"),
)
NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
"""OpenSSL's reasons for which what answers is no TLS at all."""
TLS_ALERT = b"\x15\x03"
"""How what some servers send on a TLS port to who speaks anything else begins (RFC 8446, 5.1)."""
_WANTS_TLS = (  # what servers say on a TLS port to who speaks plain HTTP: Go, nginx, Apache
    *(b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port"),
    b"speaking plain HTTP to an SSL-enabled server port",
)
_NOTHING_IN_COMMON = (
    *("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"),
    *("INSUFFICIENT_SECURITY", "NO_APPLICATION_PROTOCOL"),
)


def network_failure(
    error: aiohttp.ClientError | OSError, where: str, *, unsent: bool = False, proxy: str = "", silent: bool = False
) -> DeliveryError:
    """The failure as what it means; ``where`` is the destination, for the sentence, ``proxy`` what it is reached by.

    ``unsent``: see `Retryable`. ``silent``: we speak without TLS, and nobody has ever answered. Some servers hang up on who
    does not speak TLS; nothing tells them from one that is restarted.
    """
    perhaps = " (if it always does: does it want https://?)" if silent else ""
    if isinstance(error, aiohttp.ClientResponseError) and repr(TLS_ALERT)[2:-1] in error.message:
        return speaks_tls(where)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return tls_failure(error.certificate_error, where, unsent=unsent)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        what = f"the name of its proxy {proxy}" if proxy else "its name"
        return Retryable(f"{where}: {what} cannot be resolved: {plain(error.os_error)}", unsent=unsent)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return tls_failure(error.os_error, where, unsent=unsent)
    if isinstance(error, aiohttp.ClientConnectorError):
        if not proxy and isinstance(error.os_error, ConnectionResetError | ConnectionAbortedError):
            return broken_handshake(error.os_error, where)  # connected it was: only then can it end in these ways
        to = f" to its proxy {proxy}" if proxy else ""
        return Retryable(f"{where}: cannot connect{to}: {plain(error.os_error)}", unsent=unsent)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Retryable(f"{where}: closed the connection without an answer{perhaps}", unsent=unsent)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Retryable(f"{where}: closed the connection in the middle of its answer")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refusal(error.status, excerpt(error.message), where, proxy)
    if isinstance(error, aiohttp.ClientResponseError):
        return Unusable(
            f"{where}: does not speak HTTP ({excerpt(error.message)}); is it another port, such as the one for gRPC?"
        )
    for seen in (error, error.__cause__):  # a server may refuse a client's certificate only when it is spoken to
        if isinstance(seen, ssl.SSLError):
            return tls_failure(seen, where, unsent=unsent)
    return Retryable(f"{where}: the connection broke: {plain(error)}{perhaps}", unsent=unsent)


def tls_failure(error: BaseException, where: str, *, unsent: bool = False) -> DeliveryError:
    """Why no TLS connection came about: `Unusable` where a certificate or a setting has to change, else `Retryable`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = excerpt(error.verify_message).rstrip(".")
        return Unusable(f"{where}: its TLS certificate is not accepted: {said}{_advice(error.verify_code)}")
    reason = str(getattr(error, "reason", "") or "")
    if any(word in reason for word in _CLIENT_CERTIFICATE):
        return Unusable(f"{where}: it does not accept our client certificate, or wants one: {_said(reason)}")
    if any(word in reason for word in _NOTHING_IN_COMMON):
        return Unusable(f"{where}: no version of TLS or protocol in common, TLS 1.2 is the least: {_said(reason)}")
    if reason in NOT_TLS:
        return Unusable(f"{where}: does not speak TLS; without it the URL begins with http://")
    if "HANDSHAKE_FAILURE" in reason:  # what TLS 1.2 has for both
        return Unusable(
            f"{where}: it ends the handshake: it wants a client certificate, or there is no cipher in common"
        )
    return Retryable(f"{where}: no TLS connection: {plain(error)}", unsent=unsent)


def broken_handshake(error: OSError, where: str) -> Retryable:
    """What it means that a connection ended within the handshake of TLS: perhaps that there is no TLS at that port."""
    said = f": {plain(error)}" if error.strerror else ""
    return Retryable(
        f"{where}: closed the connection in the TLS handshake{said} (if it always does: does it want http://?)",
        unsent=True,
    )


def speaks_tls(where: str) -> Unusable:
    """What speaks TLS where we do not."""
    return Unusable(f"{where}: speaks TLS; with it the URL begins with https://")


def wants_tls(status: int, body: bytes, where: str) -> Unusable | None:
    """What it means when a server says 400 because TLS is spoken at its port; None when it says anything else.

    As a refusal of the request it would set aside all there is, one record after the other.
    """
    if status == 400 and any(words in body for words in _WANTS_TLS):
        return speaks_tls(where)
    return None


def proxy_refusal(status: int, said: str, where: str, proxy: str) -> DeliveryError:
    """What it means that a proxy lets nobody through: its own doing (`Unusable`), or that of what is behind it."""
    reason = f"{where}: its proxy {proxy} answered {status}" + (f" {said}" if said else "")
    if status == 407:
        return Unusable(f"{reason}; it wants another user name or password")
    if status in (408, 425, 429) or status >= 500:
        return Retryable(reason, unsent=True)
    return Unusable(f"{reason}; it does not let this through")


def _advice(code: int) -> str:
    if code in _UNKNOWN_AUTHORITY:
        return "; if it is the right one, name its authority as ca_file"
    if code in _OTHER_NAME:
        return "; if this is the right server, name what its certificate is for as server_name"
    if code in (_EXPIRED, _NOT_YET):
        return "; it has to be renewed, or the clock of this host is wrong"
    return ""


def _said(reason: str) -> str:
    return reason.replace("_", " ").lower()
