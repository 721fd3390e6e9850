"""The way to a destination, below any protocol: names, addresses, proxies, TLS, and what a failure there means."""
