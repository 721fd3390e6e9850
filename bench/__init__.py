"""Measurements: paired cases, named for the path they measure. ``python -m bench`` prints the table."""
