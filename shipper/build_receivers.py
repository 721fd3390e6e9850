"""Makes the receivers of a run: what listens for those that do not hand over by the SDK, and writes to a spool first.

One function makes one receiver; a new one gets its settings in `shipper.config.schema.Receivers` and a line in `_MAKERS`.
Each is imported where it is made, so that nothing is paid for what is not switched on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.config import Config, Gateway, Role, split_address, unix_path
from shipper.config import OtlpReceiver as OtlpReceiverSettings
from shipper.contracts import Hub, Signal, Source, Stream, StreamKind
from shipper.errors import ConfigError
from shipper.events import Reporter
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.otlp.encode import AttributeValue
from shipper.spool import Fsync, Spool, SpoolStream

if TYPE_CHECKING:
    from shipper.measure.requests import RequestCounter
    from shipper.sources.listen import ListenSettings
    from shipper.sources.otlp import Listener

DIRECTORY = "receivers"
_NAME = re.compile("[a-z]{1,32}")


@dataclass(frozen=True, slots=True)
class Ground:
    """What every receiver stands on.

    ``attributes``: the identity that goes on every record as resource attributes; none in a gateway, whose records are
    those of other hosts. ``requests``: what counts them from spans. ``stack`` closes what was opened here, after the sources
    themselves. ``closed``: of an earlier life: what was received in it is shipped, and nothing listens.
    """

    config: Config
    role: Role
    life: str
    attributes: Mapping[str, AttributeValue]
    hub: Hub
    ledger: LedgerThread
    clock: Clock
    report: Reporter
    stack: AsyncExitStack
    requests: RequestCounter | None = None
    closed: bool = False

    def spool(self, receiver: str, signal: Signal) -> Spool:
        """The spool of one signal of a receiver; the stack closes it. Raises `StateError` when it cannot be had."""
        settings = self.config.receivers
        spool = Spool.open(
            os.path.join(self.config.state_dir, DIRECTORY, receiver, signal.value),
            name=f"{receiver}-{signal}",
            fsync=Fsync(settings.fsync),
            max_bytes=settings.spool_max,
            policy=settings.when_full,
            report=self.report,
        )
        self.stack.callback(spool.close)
        return spool

    async def stream(self, receiver: str, signal: Signal, spool: Spool) -> SpoolStream:
        """The stream of a spool, known to the ledger and with the start it always had; whoever listens announces it.

        Requests are counted from spans, and some traces left out, as is configured for spans that services hand over.
        No position is given away twice, even where a power cut took the end of the spool. Raises `StateError`.
        """
        stream = self._make(spool, signal, f"{receiver}-{signal}", f"{receiver} {signal}")
        row = StreamRow(stream.id, stream.kind, stream.signal, receiver, stream.name, stream.start)
        stream.start = (await self.ledger.call(Ledger.put_shrinking, row)).start
        for destination in self.config.destinations:
            spool.skip_to((await self.ledger.call(Ledger.cursor, destination, stream.id)).reach)
        return stream

    def _make(self, spool: Spool, signal: Signal, id: str, name: str) -> SpoolStream:
        kind, life = StreamKind.DATA, self.life
        if signal is not Signal.TRACES or self.role == "gateway":
            return SpoolStream(spool, id=id, signal=signal, kind=kind, life=life, name=name)
        from shipper.measure.otlp_requests import OtlpRequests
        from shipper.sources.otlp_traces import TracesStream
        from shipper.sources.services.sampling import Sampling

        traces = self.config.traces
        sampling = Sampling(traces.keep, round(traces.slow * 1e9))
        stream = TracesStream(
            spool, id=id, kind=kind, life=life, name=name, sampling=sampling, counted=self.requests is not None
        )
        if self.requests is not None:
            self.requests.follow(OtlpRequests(stream, self.requests))
        return stream


class CountingHub:
    """A hub that also tells whoever counts requests of what is new in received spans."""

    def __init__(self, hub: Hub, requests: RequestCounter) -> None:
        self._hub = hub
        self._requests = requests
        self.add = hub.add
        self.finished = hub.finished

    def ready(self, stream: Stream) -> None:
        """See `Hub.ready`."""
        self._hub.ready(stream)
        self._requests.woken(stream.id)


Maker = Callable[[Ground], Awaitable[Source | None]]


async def receivers(ground: Ground) -> list[Source]:
    """All receivers that are switched on, listening. Raises `ShipperError` (an address, a file, the disk)."""
    made = [source for make in _MAKERS if (source := await make(ground)) is not None]
    left = await _left_of_others(ground, {source.name for source in made})
    return [*made, *left]


async def _left_of_others(ground: Ground, listening: Collection[str]) -> list[Source]:
    """What lies in the spools of receivers that are not made in this run."""
    from shipper.sources.leftover import Leftover

    home = os.path.join(ground.config.state_dir, DIRECTORY)
    names = sorted(os.listdir(home)) if os.path.isdir(home) else []
    streams: list[SpoolStream] = []
    for name in names:
        for signal in Signal if name not in listening and _NAME.fullmatch(name) else ():
            if os.path.isdir(os.path.join(home, name, signal.value)):
                streams.append(await ground.stream(name, signal, ground.spool(name, signal)))
    return [Leftover(streams, ground.hub)] if streams else []


async def _otlp(ground: Ground) -> Source | None:
    """OTLP of services on this host; a gateway has `gateway_receiver`."""
    settings = ground.config.receivers.otlp
    if settings is None or ground.role == "gateway" or ground.closed:
        return None
    from shipper.sources.otlp import OtlpLimits, OtlpReceiver
    from shipper.sources.otlp_labels import Labels

    doors = [_door(settings, address, "receivers.otlp") for address in (settings.http, settings.grpc)]
    receiver = OtlpReceiver(
        *doors,
        hub=ground.hub,
        streams={signal: await ground.stream("otlp", signal, ground.spool("otlp", signal)) for signal in Signal},
        ledger=ground.ledger,
        life=ground.life,
        clock=ground.clock,
        report=ground.report,
        role="sidecar",
        limits=OtlpLimits(max_body=settings.max_body, max_decompressed=settings.max_decompressed),
        labels=Labels(ground.attributes),
    )
    await receiver.start()
    return receiver


async def _forward(ground: Ground) -> Source | None:
    """The forward protocol: logs, and spans of Shipper's own SDK where it has no spool to hand over by."""
    config = ground.config.receivers.forward
    if config is None or ground.closed:
        return None
    from shipper.sources.forward.making import settings
    from shipper.sources.forward.source import NAME, ForwardReceiver

    wanted = settings(config)
    spools = {signal: ground.spool(NAME, signal) for signal in (Signal.LOGS, Signal.TRACES)}
    receiver = ForwardReceiver(
        wanted,
        spools=spools,
        streams={signal: await ground.stream(NAME, signal, spool) for signal, spool in spools.items()},
        directory=Path(ground.config.state_dir, DIRECTORY, NAME),
        attributes=ground.attributes,
        most=ground.config.receivers.spool_max,
        hub=ground.hub,
        clock=ground.clock,
        report=ground.report,
    )
    await receiver.start()
    return receiver


async def _syslog(ground: Ground) -> Source | None:
    """Syslog, by datagrams and streams."""
    config = ground.config.receivers.syslog
    if config is None or ground.closed:
        return None
    from shipper.sources.syslog.making import settings
    from shipper.sources.syslog.source import NAME, SyslogReceiver

    wanted = settings(config)
    spool = ground.spool(NAME, Signal.LOGS)
    receiver = SyslogReceiver(
        wanted,
        spool=spool,
        stream=await ground.stream(NAME, Signal.LOGS, spool),
        attributes=ground.attributes,
        most=ground.config.receivers.spool_max,
        hub=ground.hub,
        clock=ground.clock,
        report=ground.report,
    )
    await receiver.start()
    return receiver


_MAKERS: tuple[Maker, ...] = (_otlp, _forward, _syslog)


async def gateway_receiver(ground: Ground, listener: Listener) -> Source:
    """The receiver of `shipper gateway`, listening; ``listener`` hears of everything that is taken in."""
    from shipper.sources.otlp import OtlpLimits, OtlpReceiver

    settings = ground.config.gateway
    doors = [_door(settings, address, "gateway") for address in (settings.listen, settings.grpc)]
    spools = {signal: _gateway_spool(ground, signal) for signal in Signal}
    receiver = OtlpReceiver(
        *doors,
        hub=ground.hub,
        streams={signal: await ground.stream("otlp", signal, spool) for signal, spool in spools.items()},
        ledger=ground.ledger,
        life=ground.life,
        clock=ground.clock,
        report=ground.report,
        path="gateway",
        limits=OtlpLimits(
            max_body=settings.max_body, max_decompressed=settings.max_decompressed, max_json=settings.max_decompressed
        ),
        listener=listener,
    )
    await receiver.start()
    return receiver


def _gateway_spool(ground: Ground, signal: Signal) -> Spool:
    settings = ground.config.gateway
    spool = Spool.open(
        os.path.join(ground.config.spool_dir, signal.value),
        name=signal.value,
        fsync=Fsync(settings.fsync),
        max_bytes=settings.spool_max,
        report=ground.report,
    )
    ground.stack.callback(spool.close)
    return spool


def _door(settings: Gateway | OtlpReceiverSettings, address: str, where: str) -> ListenSettings | None:
    """Where one of a receiver's doors is; None where it has none. Raises `ConfigError`."""
    from shipper.sources.listen import ListenSettings

    if not address:
        return None
    path = unix_path(address)
    host, port = ("", 0) if path else split_address(address)
    return ListenSettings(
        host,
        port,
        settings.tls_cert,
        settings.tls_key,
        token(settings.token_file, f"{where}.token_file"),
        settings.insecure,
        path,
    )


def token(path: str, where: str) -> str:
    """The token in the first line of a file; empty where none is wanted. Raises `ConfigError`, which names ``where``."""
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            found = file.readline().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(where, f"cannot read {path}: {problem}") from problem
    if not found:  # which would mean: nobody has to show one
        raise ConfigError(where, f"{path} has no token in its first line")
    return found
