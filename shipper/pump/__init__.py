"""Room ``pump``."""
