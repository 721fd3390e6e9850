"""`shipper exec`: a program's output and its end, handed over so that neither its death nor ours costs a byte.

Needs the base install only, and little memory: it may be process 1 of every container there is.
"""
