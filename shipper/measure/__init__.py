"""Numbers made on the host from what services hand over: requests and errors by generation, and scraped metrics."""
