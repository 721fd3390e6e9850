"""Exporters that ship with Shipper: one file each, loaded by entry point like a stranger's, its parts in a folder of its name."""
