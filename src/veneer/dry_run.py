"""The dry run: everything is read, built and looked for that a run will need, and nothing is made."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mistake that was found."""

    where: str
    message: str
    """What was found and what to do."""
    stops: bool
    """Whether it would stop the run, or make it measure a fault of the set-up."""
