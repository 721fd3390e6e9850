"""The way to a destination, the same for whatever is spoken there: names, addresses, proxies and TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from yarl import URL

from shipper.clock import Clock
from shipper.contracts import ExporterContext
from shipper_exporters._http.settings import HttpSettings
from shipper_exporters._way.addresses import Addresses, WatchingResolver
from shipper_exporters._way.files import HTTP_1, TlsFiles
from shipper_exporters._way.proxy import Proxies, Proxy
from shipper_exporters._way.resolve import Names

KEEP_ALIVE = 45.0  # idle connections are kept this long; common load balancers close theirs after 60 s
RENEW = 300.0  # a connection gets no new requests after this long, so that a name that leads elsewhere is followed


@dataclass(frozen=True)
class Network:
    """What a client of an exporter knows. ``timeout``: seconds for which an exchange may stand still."""

    clock: Clock
    timeout: float
    tls: TlsFiles
    addresses: Addresses
    names: Names
    proxies: Proxies
    server_name: str = ""
    _proxied_by: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def of(cls, settings: HttpSettings, context: ExporterContext, protocol: str = HTTP_1) -> Network:
        """By the settings and the environment of this process; ``protocol``: see `TlsFiles`."""
        return cls(
            context.clock,
            settings.timeout,
            TlsFiles(settings.ca_file, settings.cert_file, settings.key_file, protocol),
            Addresses(context.own_addresses),
            Names(context.clock),
            Proxies("", settings.proxy, settings.proxy_password_file, os.environ),
            settings.server_name,
        )

    def proxy(self, url: URL) -> Proxy | None:
        """By what a URL is reached; the proxy's own address then says nothing about where that is."""
        proxy = self.proxies.of(url)
        if proxy is not None:
            self._proxied_by.add((proxy.url.host or "", proxy.url.port or 0))
            self.addresses.beyond(url.host or "")
        return proxy

    def resolver(self) -> WatchingResolver:
        """What resolves the destination's name, and the proxy's."""
        return WatchingResolver(self.addresses, self.names, self._proxied_by)
