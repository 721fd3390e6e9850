"""Settings: one typed schema, read from a file, the environment and the command line, with the origin of every value.

`load` gives a finished `Config`; `convert` gives an exporter's settings the same treatment (paths in errors, nearest
names, sizes and durations). Needs the ``sidecar`` extra (msgspec, PyYAML).
"""

from shipper.config.addresses import UNIX, is_loopback, split_address, unix_path
from shipper.config.convert import ConfigErrors, FromText, convert
from shipper.config.layers import Origin
from shipper.config.load import Loaded, load
from shipper.config.schema import Account, Admin, Config, Destination, Gateway, Labels, Log, Quarantine, Role
from shipper.config.schema_ending import Drain
from shipper.config.schema_numbers import Metrics, Requests, Scrape
from shipper.config.schema_receivers import OtlpReceiver, Receiver, Receivers
from shipper.config.schema_sources import FileLimits, Files, Services, Traces
from shipper.config.units import Seconds, Size, parse_seconds, parse_size
from shipper.config.validate import validate

__all__ = [
    "UNIX",
    "Account",
    "Admin",
    "Config",
    "ConfigErrors",
    "Destination",
    "Drain",
    "FileLimits",
    "Files",
    "FromText",
    "Gateway",
    "Labels",
    "Loaded",
    "Log",
    "Metrics",
    "Origin",
    "OtlpReceiver",
    "Quarantine",
    "Receiver",
    "Receivers",
    "Requests",
    "Role",
    "Scrape",
    "Seconds",
    "Services",
    "Size",
    "Traces",
    "convert",
    "is_loopback",
    "load",
    "parse_seconds",
    "parse_size",
    "split_address",
    "unix_path",
    "validate",
]
