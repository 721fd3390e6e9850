"""Room ``testing``."""
