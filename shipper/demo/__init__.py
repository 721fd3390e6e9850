"""Room ``demo``."""
