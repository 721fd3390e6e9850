"""One cell of the drain matrix: a host, its platform, its sink's weather, and what came of it."""
