"""Shipper gets every log, trace and metric off an ephemeral host before it dies, and proves what arrived.

How this package is arranged: ``contracts`` is the page to read first. A *source* (``sources``) makes streams; a *pump*
(``pump``) cuts them into OTLP batches (``otlp``), has each cut committed to the *ledger* (``ledger``), and moves a cursor
only when an exporter (``shipper_exporters``, found by entry point) was told by an off-host destination that it has them.
What comes by network is written to a *spool* (``spool``) before it is acknowledged. A notice starts the *drain*
(``drain``). ``fleet`` audits archives, ``labels`` answers who we are, ``sidecar`` puts it all together, ``cli`` is thin.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
