"""systemd's journal as streams: read from its files as they lie on disk, without systemd's library (docs/decisions/027)."""
