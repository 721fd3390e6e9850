"""Server spans for every web framework, one a request, whoever else makes them."""
