"""What is done to records on their way: pure functions of bytes, which know neither files nor destinations."""

from shipper.shape.multiline import Kind, Multiline, Parts

__all__ = ["Kind", "Multiline", "Parts"]
