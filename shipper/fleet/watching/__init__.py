"""The verdict on every service's newest generation, computed again every minute and written as series.

So the Triage panel, an alert and `shipper verdict` say the same. `newest` finds whom to look at, `series` turns a judgement into
numbers, `watcher` looks, writes and ends; `writers` are the ways out of a command that is no gateway.
"""
