"""What is done to records on their way: pure functions of bytes, which know neither files nor destinations."""

from shipper.shape.multiline import Kind, Multiline, Parts
from shipper.shape.shaping import PLAIN, PlainShape, Shape, Shaped

__all__ = ["PLAIN", "Kind", "Multiline", "Parts", "PlainShape", "Shape", "Shaped"]
