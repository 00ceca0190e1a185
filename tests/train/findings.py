"""Reading what preflight found, and a conversation for it to look at."""

from collections.abc import Sequence

from veneer.records import Message
from veneer.train.preflight import Finding

TALK = [(Message(role="user", content="w1 w2 ?"), Message(role="assistant", content="w3 ."))]


def failed(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings if not finding.passed}


def only(findings: Sequence[Finding]) -> Finding:
    (found,) = failed(findings).values()
    return found


def fatal(check: str, findings: Sequence[Finding]) -> str:
    """Return the message of the one check that failed, which cannot be borne."""
    found = only(findings)
    assert (found.check, found.fatal) == (check, True)
    return found.message
