"""The parts of ``file`` and ``stdout``: lines, and the places that they are written to."""
