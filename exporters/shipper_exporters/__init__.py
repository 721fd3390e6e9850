"""Exporters that ship with Shipper, one file each, loaded by entry point like a stranger's."""
