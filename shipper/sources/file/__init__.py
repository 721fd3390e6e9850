"""Tailing log files: what is in them arrives once, in order, whatever is done to the files."""

from shipper.sources.file.settings import FileGroup, FileSettings
from shipper.sources.file.source import FileSource

__all__ = ["FileGroup", "FileSettings", "FileSource"]
