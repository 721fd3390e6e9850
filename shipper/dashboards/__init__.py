"""Dashboards, rules and alerts that say which deploy broke it, all made from one configuration."""
