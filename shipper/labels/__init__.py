"""Who am I: release, image, generation, environment, host and life, each with its origin; one detector per file.

`detect` gives the `Identity`, `witness` what this host can be recognised by, `lock_state` and `adopt_or_begin` bind the
state directory to one sidecar and one life. Imports nothing but the base install, because services use it too.
"""

from shipper.labels.detect import detect
from shipper.labels.finding import AttributeValue, Candidate
from shipper.labels.identity import Identity, Label
from shipper.labels.life import LifeDecision, LifeRecord, adopt_or_begin
from shipper.labels.state import StateLock, lock_state, prepare_state_dir
from shipper.labels.witness import Witness, witness

__all__ = [
    "AttributeValue",
    "Candidate",
    "Identity",
    "Label",
    "LifeDecision",
    "LifeRecord",
    "StateLock",
    "Witness",
    "adopt_or_begin",
    "detect",
    "lock_state",
    "prepare_state_dir",
    "witness",
]
