"""The crash-safe hand-off, writing side: one frame, one ``write()``, into files that are this process's own."""
