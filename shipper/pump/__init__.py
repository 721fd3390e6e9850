"""Stream to destination: what is cut, paced, sent, retried, split, set aside, and settled by answers alone."""

from shipper.pump.exposure import ExposureStats
from shipper.pump.hub import Hub
from shipper.pump.load import exporter_class, load_exporters, make_exporter
from shipper.pump.pump import Mode, Pump
from shipper.pump.share import Share

__all__ = ["ExposureStats", "Hub", "Mode", "Pump", "Share", "exporter_class", "load_exporters", "make_exporter"]
