"""Is this generation worse than the ones it replaces? Counts in, one sentence out that says what it is made of.

`model` has the words, `mantel` and `history` the two comparisons, `hosts` tells one bad host from a bad generation, `judge`
decides; none of them knows Prometheus. `queries`, `client` and `reading` bring the counts, `look` and `watch` put it together.
Only the base install is needed: pipelines have no sidecar.
"""
