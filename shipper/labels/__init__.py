"""Room ``labels``."""
