"""What services hand over by the SDK: segments in a spool directory, read, spliced, shipped and deleted when acknowledged."""
