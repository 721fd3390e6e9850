"""Exchanges over HTTP/1.1, HTTP/2 and gRPC, for every destination that is spoken to by one of them."""
