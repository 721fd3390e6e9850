"""Room ``fleet``."""
