"""What settings of exporters that speak HTTP have in common, and what is wrong with them before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, field
from yarl import URL

from shipper.config.inputs import AuthoritiesPath, CertificatePath, KeyPath, SecretPath
from shipper.config.section import Section
from shipper.config.units import Seconds
from shipper.errors import ConfigError, Unusable
from shipper_exporters._way.addresses import Addresses, is_address
from shipper_exporters._way.proxy import Proxies

OURS = frozenset({"connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"})
"""Headers, in lower case, that no exporter lets anybody set."""

_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class HttpSettings(Section, frozen=True):
    """What every exporter that speaks HTTP can be told; credentials and pace are each one's own."""

    headers: Annotated[dict[str, str], Meta(description="Further request headers.")] = field(default_factory=dict)
    timeout: Annotated[Seconds, Meta(description="How long a request may stand still before it is tried again.")] = 10.0
    ca_file: Annotated[
        AuthoritiesPath, Meta(description="PEM file with the authorities to trust, instead of the system's.")
    ] = ""
    cert_file: Annotated[CertificatePath, Meta(description="PEM file with the client certificate.")] = ""
    key_file: Annotated[KeyPath, Meta(description="PEM file with its private key.")] = ""
    server_name: Annotated[
        str, Meta(description="Name in the server's certificate (and SNI), where it is not that of the URL.")
    ] = ""
    proxy: Annotated[
        str, Meta(description="URL of an HTTP proxy; none: never one. Empty: HTTP_PROXY, HTTPS_PROXY and NO_PROXY.")
    ] = ""
    proxy_password_file: Annotated[
        SecretPath, Meta(description="File with the password for the name in the proxy's URL.")
    ] = ""
    trust_local: Annotated[
        bool, Meta(description="Count what is taken by a server on this host as off the host, though it ends with it.")
    ] = False


def check_http(destination: str, settings: HttpSettings, ours: Collection[str], secret: str) -> None:
    """Raise `ConfigError` for what cannot work; ``ours``, ``secret`` as `check_headers` has them."""
    if settings.timeout <= 0:
        raise wrong(destination, "timeout", "must be more than 0")
    if settings.key_file and not settings.cert_file:
        raise wrong(destination, "key_file", "is given without cert_file; a client certificate needs both")
    Proxies(f"destinations.{destination}", settings.proxy, settings.proxy_password_file, os.environ)
    check_headers(destination, settings.headers, ours, secret)


def wrong(destination: str, option: str, problem: str) -> ConfigError:
    """The error for an option of a destination."""
    return ConfigError(f"destinations.{destination}.{option}", problem)


def named_endpoints(destination: str, endpoint: str, endpoints: Sequence[str], example: str) -> list[tuple[str, str]]:
    """What is given as ``endpoint`` or ``endpoints``, each behind the name of its option. Raises `ConfigError` for none and both."""
    if endpoint and endpoints:
        raise wrong(destination, "endpoints", "and endpoint exclude each other")
    if not endpoint and not endpoints:
        raise wrong(destination, "endpoint", f"is missing, for example {example}")
    return [("endpoint", endpoint)] if endpoint else [(f"endpoints[{n}]", one) for n, one in enumerate(endpoints)]


def parse_url(destination: str, option: str, given: str, example: str) -> URL:
    """The URL of an option. Raises `ConfigError` for what is none, and for one with a password in it."""
    try:
        url = URL(given)
        usable = url.scheme in ("http", "https") and url.host and url.port
    except ValueError:
        usable = False
    if not usable:
        raise wrong(destination, option, f"is no URL such as {example}")
    if url.user is not None or url.password is not None:
        raise wrong(destination, option, "has a password in it; use a file or headers")
    return url.with_fragment(None)


def check_headers(destination: str, headers: Mapping[str, str], ours: Collection[str], secret: str) -> None:
    """Raise `ConfigError` for headers that cannot be, or are set otherwise: by us, or by the option ``secret`` if given."""
    for name, value in headers.items():
        option = f"headers.{name[:60]}"
        if not name or not set(name.lower()) <= _TOKEN_CHARACTERS:
            raise wrong(destination, option, "is no name for an HTTP header")
        if name.lower() in ours or name.lower().startswith("shipper-"):
            raise wrong(destination, option, "is set by Shipper itself")
        if not value.isprintable() or not value.isascii():
            raise wrong(destination, option, "its value has characters that HTTP does not allow")
        if secret and name.lower() == "authorization":
            raise wrong(destination, option, f"and {secret} exclude each other")


def check_literal(destination: str, option: str, url: URL, addresses: Addresses) -> None:
    """Names are checked when they are resolved; addresses never are, so they are checked here, once. Raises `ConfigError`."""
    if url.host is None or url.port is None or not (is_address(url.host) or url.host == "localhost"):
        return
    try:
        addresses.check(url.host, ["127.0.0.1", "::1"] if url.host == "localhost" else [url.host], url.port)
    except Unusable as error:
        raise wrong(destination, option, str(error)) from None
