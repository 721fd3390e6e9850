"""The verdict on every service's newest generation, computed again every minute and written as series.

So the Triage panel, an alert and `shipper verdict` say the same. `newest` finds whom to look at, `looks` judges them, `series`
turns a judgement into numbers, `watcher` does that every minute, writes and ends; `writers` are ways out without a gateway.
"""
