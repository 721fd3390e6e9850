"""Telling of a deploy: an OTLP log event by plain HTTP, bounded in time, with nothing but the standard library.

A pipeline has no sidecar and no time to lose, so this retries for a few seconds and then says what did not work.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from shipper import __version__
from shipper.errors import ConfigError, ShipperError
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.deploys.wire import to_otlp

SECONDS = 5.0
"""How long telling of an event may take in all."""
_PAUSE = 0.3
_MAX_ANSWER = 64 << 10
_OTEL = "OTEL_EXPORTER_OTLP_"
_GRPC = "grpc"
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class NotTold(ShipperError):
    """Somebody could not be told of the deploy; the text says who and why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where logs go. ``url`` in full; ``origin`` says where it was found, for people."""

    url: str
    origin: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def find_endpoint(option: str, config_file: str, env: Mapping[str, str]) -> Endpoint | None:
    """The endpoint by the option, Shipper's variables, OpenTelemetry's, or a configuration file; None when there is none.

    Credentials go only to the endpoint they were set with. Raises `ConfigError`.
    """
    ours = {name: env.get(f"SHIPPER_OTLP_{name.upper()}", "").strip() for name in ("token_file", "ca_file")}
    headers = _pairs(env.get("SHIPPER_OTLP_HEADERS", ""))
    if option:
        return Endpoint(_logs_url(option, "--endpoint"), "--endpoint", headers, **ours)
    if base := env.get("SHIPPER_OTLP_ENDPOINT", "").strip():
        return Endpoint(_logs_url(base, "SHIPPER_OTLP_ENDPOINT"), "SHIPPER_OTLP_ENDPOINT", headers, **ours)
    for suffix in ("LOGS_ENDPOINT", "ENDPOINT"):
        name = f"{_OTEL}{suffix}"
        if given := env.get(name, "").strip():
            _check_protocol(env.get(f"{_OTEL}LOGS_PROTOCOL") or env.get(f"{_OTEL}PROTOCOL", ""), name)
            url = _checked(given, name) if suffix == "LOGS_ENDPOINT" else _logs_url(given, name)
            found = _pairs(env.get("OTEL_EXPORTER_OTLP_LOGS_HEADERS") or env.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
            return Endpoint(url, name, found, ca_file=env.get("OTEL_EXPORTER_OTLP_CERTIFICATE", "").strip())
    return _configured(config_file, env)


def _configured(config_file: str, env: Mapping[str, str]) -> Endpoint | None:
    """The first OTLP destination of a configuration file, if there is one."""
    from shipper.paths import CONFIG_FILE

    if not (config_file or env.get("SHIPPER_CONFIG", "").strip() or os.path.lexists(CONFIG_FILE)):
        return None  # the configuration reader is a part of the sidecar extra, which a pipeline need not have
    from shipper.config import load

    loaded = load(config_file or None, env=env, complete=False)
    of_type = [(name, at) for name, at in loaded.config.destinations.items() if at.type == "otlp"]
    for name, destination in sorted(of_type, key=lambda entry: entry[1].options.get("protocol") == _GRPC):
        found = endpoint_of(destination.options, "logs", f"destinations.{name} of {loaded.path}")
        if found is not None:
            return found
    return None


def endpoint_of(options: Mapping[str, Any], signal: str, origin: str) -> Endpoint | None:
    """Where a destination of type ``otlp`` takes ``signal``; None where it has no endpoint for it. Raises `ConfigError`.

    Of several it is the preferred one.
    """
    given = str(options.get(f"{signal}_endpoint") or "")
    base = str(options.get("endpoint") or _first(options.get("endpoints")))
    if not (given or base):
        return None
    _check_protocol(str(options.get("protocol") or ""), origin)
    url = _checked(given, origin) if given else _signal_url(base, signal, origin)
    texts = {key: str(options.get(key) or "") for key in ("token_file", "ca_file", "cert_file", "key_file")}
    return Endpoint(url, origin, dict(options.get("headers") or {}), **texts)


def _first(several: Any) -> str:
    """The first of a list, or of what a variable has as one."""
    words = str(several or "").replace(",", " ").split() if not isinstance(several, list) else several
    return str(words[0]) if words else ""


def _check_protocol(protocol: str, origin: str) -> None:
    if protocol.strip() == _GRPC:
        raise ConfigError(origin, "speaks gRPC, but this is sent by HTTP; name an endpoint for OTLP/HTTP")


def tell(
    event: DeployEvent, endpoint: Endpoint, *, seconds: float = SECONDS, now: Callable[[], float] = time.monotonic
) -> None:
    """Send the event; tries again while that may help. Raises `NotTold` after ``seconds`` at the latest."""
    body = to_otlp(event)
    deadline = now() + seconds
    while True:
        try:
            post(body, endpoint, seconds=max(0.1, deadline - now()))
            return
        except Passing as problem:
            if deadline - now() <= _PAUSE:
                raise NotTold(f"{endpoint.url} was not told of the deploy: {problem}") from problem
            time.sleep(_PAUSE)


def post(payload: bytes, endpoint: Endpoint, *, seconds: float) -> bytes:
    """One OTLP request; the body of a 2xx answer. Raises `NotTold`, or `Passing` where the same may work in a moment."""
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "gzip",
        "User-Agent": f"Shipper/{__version__}",
        **endpoint.headers,
    }
    if endpoint.token_file:
        headers["Authorization"] = f"Bearer {first_line(endpoint.token_file)}"
    body = gzip.compress(payload, 1, mtime=0)
    return ask("POST", endpoint.url, body, headers, seconds=seconds, tls=_tls(endpoint))


class Passing(NotTold):
    """The same may work in a moment."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Credentials do not follow where an answer leads."""


def ask(
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """One HTTP request; the body of a 2xx answer. Raises `NotTold`, or `Passing` where the same may work in a moment."""
    request = urllib.request.Request(url, body, dict(headers), method=method)
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=tls))
    try:
        with opener.open(request, timeout=seconds) as answer:
            said: bytes = answer.read(_MAX_ANSWER)
            if "html" in answer.headers.get("Content-Type", "").lower():
                raise NotTold(f"{url} answered with a web page: it is not what was meant, or a login stands before it")
            return said
    except urllib.error.HTTPError as problem:
        with problem:
            text = f"{url} answered {problem.code} {_reason(problem)}"
        raise (Passing if problem.code in _PASSING else NotTold)(text) from problem
    except (OSError, http.client.HTTPException, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        raise Passing(f"{url}: {reason}") from problem


def first_line(path: str) -> str:
    """A secret from a file. Raises `NotTold` when there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            secret = file.readline().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise NotTold(f"cannot read the token in {path}: {problem}") from problem
    if not secret or not secret.isprintable() or not secret.isascii():
        raise NotTold(f"{path} has no usable token in its first line")
    return secret


def _reason(problem: urllib.error.HTTPError) -> str:
    """What the other side says is wrong, in one short line."""
    try:
        said = problem.read(_MAX_ANSWER)
        message = json.loads(said).get("message", "") if said.startswith(b"{") else ""
    except (OSError, ValueError, http.client.HTTPException):
        message = ""
    return " ".join(f"{problem.reason} {str(message)[:200]}".split())


def _tls(endpoint: Endpoint) -> ssl.SSLContext | None:
    if not endpoint.url.startswith("https:"):
        return None
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file or None)
        if endpoint.cert_file:
            context.load_cert_chain(endpoint.cert_file, endpoint.key_file or None)
    except (OSError, ssl.SSLError) as problem:
        raise NotTold(f"{endpoint.url}: certificates cannot be used: {problem}") from problem
    return context


def _logs_url(base: str, origin: str) -> str:
    return _signal_url(base, "logs", origin)


def _signal_url(base: str, signal: str, origin: str) -> str:
    url = _checked(base, origin)
    return url if url.endswith(f"/v1/{signal}") else f"{url.rstrip('/')}/v1/{signal}"


def _checked(url: str, origin: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(origin, f"{url[:200]!r} is no URL such as http://gateway.example:4318")
    if parts.username or parts.password:
        raise ConfigError(origin, "has a password in it; use a token file or headers")
    return url


def _pairs(text: str) -> dict[str, str]:
    """``key=value,...`` with percent-encoded values, as OpenTelemetry writes headers."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    return {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals and key.strip()}
