"""Who am I: release, image, generation, environment, host and life, each with its origin; one detector per file.

`detect.detect` gives the `identity.Identity`, `witness.witness` what this host can be recognised by, `state.lock_state` and
`life.adopt_or_begin` bind the state directory to one sidecar and one life. Imports nothing but the base install, because
services use it too; and nothing here, because what they need is a part of it and their start waits for it.
"""
