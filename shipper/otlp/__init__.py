"""OTLP on the wire: encode lines, splice, scan, decode, answer. Knows protobuf bytes and nothing else of Shipper.

Only `decode` needs the protobuf library, and loads it at first use: encoding, scanning and splicing work on bytes, so that
a sidecar neither pays for decoding what it only passes on nor for having the library in memory.
"""
