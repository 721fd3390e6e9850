"""Room ``notices``."""
