"""``shipper top``: how a host, or a fleet, is doing now, in a terminal that may be 80x24 at the far end of ssh."""
