"""`shipper demo`: a gateway and a fleet of ephemeral hosts on one machine, each a real process tree, killed for real."""
