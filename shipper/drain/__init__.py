"""Room ``drain``."""
