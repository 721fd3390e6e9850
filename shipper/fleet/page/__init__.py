"""A fleet's history from its archive alone: generations, hosts and their ends, as a table, as JSON and as one page."""
