"""From the configuration to what the forward receiver wants: files are read here, so that what is wrong is said at the start."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from shipper.config import split_address
from shipper.config.schema_receivers import ForwardReceiver
from shipper.errors import ConfigError
from shipper.sources.forward.handshake import Secrets
from shipper.sources.forward.settings import ForwardSettings
from shipper.sources.listen import ListenSettings

PATH = "receivers.forward"


def settings(config: ForwardReceiver) -> ForwardSettings:
    """How to receive. Raises `ConfigError` for files that cannot be used."""
    secrets = _secrets(config)
    return ForwardSettings(
        listen=tuple(_listen(config, known=secrets is not None)),
        heartbeat=not config.tls_cert,
        secrets=secrets,
        body=tuple(config.body),
        max_message=config.max_message,
        max_connections=config.max_connections,
        idle=config.idle,
    )


def _listen(config: ForwardReceiver, *, known: bool) -> Iterator[ListenSettings]:
    if config.tcp:
        safe = config.insecure or (known and bool(config.tls_cert))
        found = ListenSettings(*split_address(config.tcp), config.tls_cert, config.tls_key, insecure=safe)
        found.check(PATH)
        yield found
    if config.socket:
        yield ListenSettings(path=config.socket)


def _secrets(config: ForwardReceiver) -> Secrets | None:
    if not config.shared_key_file and not config.users_file:
        return None
    keys = _lines(config.shared_key_file, "shared_key_file") if config.shared_key_file else [""]
    users: dict[str, bytes] = {}
    for line in _lines(config.users_file, "users_file") if config.users_file else []:
        name, colon, password = line.partition(":")
        if not colon or not name or not password:
            raise ConfigError(f"{PATH}.users_file", f"{config.users_file}: a line is no name:password")
        users[name] = password.encode()
    return Secrets(config.hostname or socket.gethostname(), keys[0].encode(), users)


def _lines(path: str, key: str) -> list[str]:
    """The lines of a file that hold something. Raises `ConfigError` when there are none."""
    try:
        with open(path, encoding="utf-8") as file:
            found = [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{PATH}.{key}", f"cannot read {path}: {problem}") from problem
    if not found:  # which would let in everybody
        raise ConfigError(f"{PATH}.{key}", f"{path} is empty")
    return found
