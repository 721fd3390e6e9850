"""Fakes of the platforms that announce the end of a host, with the traps of the real ones; one file each."""
