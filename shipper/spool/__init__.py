"""The spool: what came by network, kept on disk as a stream that can be read again. FORMAT.md has the bytes."""

from shipper.spool.frame import Frame
from shipper.spool.header import FrameHeader
from shipper.spool.policy import Fsync, Policy
from shipper.spool.spool import Spool
from shipper.spool.stream import SpoolStream

__all__ = ["Frame", "FrameHeader", "Fsync", "Policy", "Spool", "SpoolStream"]
