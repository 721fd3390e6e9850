"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# The cases that Hypothesis draws are the same each time, so that a change is refused for what it breaks and not for what an
# earlier one left to chance. New ones are drawn by `pytest --hypothesis-profile=default`.
settings.register_profile("suite", derandomize=True)
settings.load_profile("suite")
