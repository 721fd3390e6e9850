"""The files by which a service hands its records to the sidecar: frames, segments, directories. FORMAT.md describes them.

Both sides use this room: ``shipper.sdk`` writes inside a service, ``shipper.sources.services`` reads inside the sidecar.
It imports nothing but the standard library, and this file nothing at all, because every service pays for the import.
"""
