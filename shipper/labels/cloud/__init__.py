"""What each platform says about a host: one file each, found by its name in `shipper.labels.platform.PLATFORMS`.

``detect`` gives what can be told from the environment and files; ``ask``, where there is one, what the platform's metadata
service adds, and `PLACES` the labels it may give. A file is imported only on the platform it is for.
"""
