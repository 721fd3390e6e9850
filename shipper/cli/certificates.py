"""What is wrong with certificates and keys in PEM files: only as much as the standard library can tell.

It reads certificates for no one but a TLS connection, so the two times of a certificate (RFC 5280, 4.1.2.5) are taken out of
the DER here, five fields deep in a structure that never changes.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0


def certificate_problem(pem: bytes, now: datetime) -> str:
    """Why the certificate of a host, the first in the file, is of no use at the time ``now``; empty: it is."""
    found = list(_certificates(pem))
    return _period_problem(found[0], now) if found else "holds no certificate in PEM form"


def authorities_problem(pem: bytes, now: datetime) -> str:
    """Why none of the certificates in a file can vouch for anybody; empty: one can. Bundles have expired ones among others."""
    problems = [_period_problem(one, now) for one in _certificates(pem)]
    if not problems:
        return "holds no certificate in PEM form"
    return problems[0] if all(problems) else ""


def key_problem(pem: bytes, key: str, certificate: str) -> str:
    """Why the file ``key``, which holds ``pem``, has not the private key of the file ``certificate``.

    Empty: it has, or the latter is of no use itself.
    """
    if not _KEY.search(pem):
        return "holds no private key in PEM form" + ("; name that as key_file" if key == certificate else "")
    try:
        with open(certificate, "rb") as file:
            if not any(_certificates(file.read())):
                return ""
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"is not the key of the certificate in {certificate}"
        return f"is of no use as the key of {certificate}: {error.reason or error}".replace("_", " ").lower()
    except OSError:
        return ""
    except ValueError as error:
        return str(error)
    return ""


def _no_password() -> str:
    # without this OpenSSL would ask on the terminal
    raise ValueError("the private key is encrypted; a key without a passphrase is needed")


def _certificates(pem: bytes) -> Iterator[bytes]:
    for block in _CERTIFICATE.findall(pem):
        try:
            yield ssl.PEM_cert_to_DER_cert(block.decode("ascii"))
        except ValueError:
            continue


def _period_problem(der: bytes, now: datetime) -> str:
    try:
        begins, ends = _period(der)
    except (ValueError, IndexError):
        return "holds a certificate that is damaged"
    if now > ends:
        return f"the certificate expired on {ends:%Y-%m-%d}; it has to be renewed"
    if now < begins:
        return f"the certificate is valid only from {begins:%Y-%m-%d} on; is the clock of this host right?"
    return ""


def _period(der: bytes) -> tuple[datetime, datetime]:
    """The first and the last moment of a certificate. Raises ValueError or IndexError for what is none."""
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # TBSCertificate
    tag, _, end = _element(der, at)
    before = 4 if tag == _VERSION else 3  # [version,] serial number, signature, issuer; then validity
    for _ in range(before - 1):
        _, _, end = _element(der, end)
    _, at, _ = _element(der, end)
    first = _element(der, at)
    return _time(der, *first), _time(der, *_element(der, first[2]))


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag of the element at ``at``, and where its content begins and ends (X.690, 8.1)."""
    length = der[at + 1]
    begin = at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[begin : begin + size])
        begin += size
    if begin + length > len(der):
        raise ValueError("cut off")
    return der[at], begin, begin + length


def _time(der: bytes, tag: int, begin: int, end: int) -> datetime:
    text = der[begin:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
