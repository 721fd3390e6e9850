"""Deploys of services: the events that tell of them, what they add up to, and who keeps their series alive.

Only the base install is needed by what `shipper deploy` imports (`model`, `wire`, `environment`, `send`): pipelines have no sidecar.
"""
