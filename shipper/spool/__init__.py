"""Room ``spool``."""
