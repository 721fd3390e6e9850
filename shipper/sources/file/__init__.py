"""Room ``sources/file``."""
