"""Where raters come from and go to: what each platform puts into its link, and where a finished rater is sent.

Prolific, CloudResearch Connect and SONA follow one pattern: the study's link carries who comes, and the last page leads
back with a code. MTurk shows the page in a frame and wants a form sent to it; it takes no new requesters since 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from veneer.study_rate import PlatformSpec

PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"
"""What MTurk calls the assignment of somebody who only looks."""
LONGEST = 100
"""Characters of an id; none of the platforms has longer ones."""
MTURK_HOSTS = ("www.mturk.com", "workersandbox.mturk.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What one platform puts into the link, and where it wants people back."""

    person: str
    """The field that says who comes; empty where nobody says."""
    session: str = ""
    """The field that tells this visit from others."""
    others: tuple[str, ...] = ()
    """Fields that are kept beside."""
    link: str = ""
    """What the owner adds to the raters' link when entering it at the platform."""
    back: str = ""
    """Where a finished rater goes, with {code}, {person} and {session}; a study's own `url` comes first."""
    frames: str = "'none'"
    """Who may show the page in a frame, as a Content-Security-Policy says it."""
    forms: str = "'self'"
    """Where its forms may be sent."""


_MTURK = " ".join(f"https://{host}" for host in MTURK_HOSTS)
PLATFORMS: Mapping[str, Platform] = {
    "link": Platform(person=""),
    "invitations": Platform(person=""),
    "prolific": Platform(
        person="PROLIFIC_PID",
        session="SESSION_ID",
        others=("STUDY_ID",),
        link="?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}",
        back="https://app.prolific.com/submissions/complete?cc={code}",
    ),
    "connect": Platform(
        person="participantId",
        session="assignmentId",
        others=("projectId",),
        link=" (Connect adds its fields itself)",
    ),
    "sona": Platform(person="survey_code", link="?survey_code=%SURVEY_CODE%"),
    "mturk": Platform(
        person="workerId",
        session="assignmentId",
        others=("hitId", "turkSubmitTo"),
        link=" (as the address of an ExternalQuestion)",
        frames=_MTURK,
        forms=f"'self' {_MTURK}",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who comes, as far as the link says."""

    person: str | None
    """What the platform calls them; None where the platform names nobody."""
    details: Mapping[str, str]
    """The platform's fields, for the way back and for paying."""
    preview: bool = False
    """MTurk: somebody looks before accepting; nothing may be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """What the last page offers."""

    code: str
    """Shown; empty for none."""
    link: str
    """Where to go; empty for nowhere."""
    form: str
    """MTurk: where the assignment is handed in; empty elsewhere."""
    assignment: str
    """MTurk: what is handed in."""


def visit(spec: PlatformSpec, query: Mapping[str, str]) -> Visit | str:
    """Return who comes, or what is wrong with the link, said to the one who followed it.

    Args:
        spec: The study's platform.
        query: The fields of the link.
    """
    platform = PLATFORMS[spec.kind]
    wanted = [name for name in (platform.person, platform.session, *platform.others) if name]
    details = {name: query[name] for name in wanted if query.get(name)}
    if long := [name for name, value in details.items() if len(value) > LONGEST or not value.isprintable()]:
        return f"The field {long[0]} of this link is not as {spec.kind} makes it. Please open the study there again."
    if spec.kind == "mturk":
        if details.get("assignmentId", PREVIEW) == PREVIEW:
            return Visit(person=None, details={}, preview=True)
        if not _is_mturk(details.get("turkSubmitTo", "")):
            return "The field turkSubmitTo of this link is no address of MTurk. Please open the task there again."
    needed = [name for name in (platform.person, platform.session) if name]
    if missing := [name for name in needed if name not in details]:
        return (
            f"This link lacks {missing[0]}, by which {spec.kind} tells who you are; without it you could not be paid. "
            "Please open the study from its page there."
        )
    return Visit(person=details.get(platform.person) if platform.person else None, details=details)


def way_out(spec: PlatformSpec, details: Mapping[str, str]) -> WayOut:
    """Return what the last page offers a rater who has finished.

    Args:
        spec: The study's platform.
        details: What the platform said when the rater came.
    """
    platform = PLATFORMS[spec.kind]
    person = details.get(platform.person, "")
    session = details.get(platform.session, "")
    pattern = spec.url or (platform.back if spec.code else "")
    link = pattern
    for name, value in (("code", spec.code or ""), ("person", person), ("session", session)):
        link = link.replace("{" + name + "}", quote(value, safe=""))
    form = ""
    if spec.kind == "mturk" and _is_mturk(details.get("turkSubmitTo", "")):
        form = details["turkSubmitTo"].rstrip("/") + "/mturk/externalSubmit"
    return WayOut(code=spec.code or "", link=link, form=form, assignment=session if form else "")


def _is_mturk(address: str) -> bool:
    """Return whether an address is MTurk's own: a form must be sent to nobody else."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" and parts.netloc in MTURK_HOSTS and parts.path in ("", "/")
