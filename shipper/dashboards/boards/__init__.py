"""The boards, one module each; `shipper.dashboards.build` calls their ``board(config)``."""
