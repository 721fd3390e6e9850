"""What a fleet left behind: reading the archive, proving what arrived, showing it and sending it on."""
