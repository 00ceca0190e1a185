from typing import Any

import pytest
from pydantic import ValidationError

from veneer.rate.platforms import PREVIEW, Visit, visit, way_out
from veneer.study_rate import PeopleSpec, PlatformSpec


def platform(kind: str, **given: Any) -> PlatformSpec:
    return PlatformSpec.model_validate({"kind": kind, **given})


PROLIFIC = {"PROLIFIC_PID": "5f1e", "STUDY_ID": "s", "SESSION_ID": "visit"}
MTURK = {
    "workerId": "W", "assignmentId": "A", "hitId": "H", "turkSubmitTo": "https://workersandbox.mturk.com",
}  # fmt: skip


def test_prolific_says_who_comes_and_takes_them_back_with_a_code() -> None:
    spec = platform("prolific", code="C0DE")
    found = visit(spec, PROLIFIC | {"other": "x"})
    assert found == Visit(person="5f1e", details=PROLIFIC)
    assert way_out(spec, PROLIFIC).link == "https://app.prolific.com/submissions/complete?cc=C0DE"


def test_connect_follows_the_same_pattern() -> None:
    spec = platform("connect", code="C")
    found = visit(spec, {"participantId": "p", "assignmentId": "a", "projectId": "j"})
    assert isinstance(found, Visit)
    assert found.person == "p"
    assert (way_out(spec, found.details).code, way_out(spec, found.details).link) == ("C", "")


def test_sona_gets_its_person_back_in_the_credit_link() -> None:
    spec = platform("sona", url="https://u.sona-systems.com/credit?survey_code={person}")
    found = visit(spec, {"survey_code": "1 & 2"})
    assert isinstance(found, Visit)
    assert way_out(spec, found.details).link == "https://u.sona-systems.com/credit?survey_code=1%20%26%202"


def test_mturk_gets_a_form_and_a_preview_records_nobody() -> None:
    spec = platform("mturk")
    found = visit(spec, MTURK)
    assert isinstance(found, Visit)
    out = way_out(spec, found.details)
    assert (out.form, out.assignment) == ("https://workersandbox.mturk.com/mturk/externalSubmit", "A")
    assert visit(spec, MTURK | {"assignmentId": PREVIEW}) == Visit(person=None, details={}, preview=True)
    assert visit(spec, {}) == Visit(person=None, details={}, preview=True)


@pytest.mark.parametrize(
    "address",
    ["https://evil.example", "http://www.mturk.com", "https://www.mturk.com.evil.example", "javascript:x", "https://[",
     "https://www.mturk.com@evil.example", "https://www.mturk.com/somewhere", ""],
)  # fmt: skip
def test_an_assignment_is_handed_in_at_mturk_and_nowhere_else(address: str) -> None:
    assert "turkSubmitTo" in str(visit(platform("mturk"), MTURK | {"turkSubmitTo": address}))
    assert way_out(platform("mturk"), MTURK | {"turkSubmitTo": address}).form == ""


def test_a_link_without_its_fields_says_what_to_do() -> None:
    assert "lacks SESSION_ID" in str(visit(platform("prolific", code="C"), {"PROLIFIC_PID": "x"}))
    assert "not as prolific makes it" in str(
        visit(platform("prolific", code="C"), PROLIFIC | {"STUDY_ID": "x" * 101})
    )
    assert "not as prolific makes it" in str(
        visit(platform("prolific", code="C"), PROLIFIC | {"STUDY_ID": "a\x00"})
    )


def test_a_plain_link_names_nobody() -> None:
    assert visit(platform("link"), {"PROLIFIC_PID": "x"}) == Visit(person=None, details={})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"platform": {"kind": "prolific"}}, "needs `code` or `url`"),
        ({"platform": {"kind": "sona"}}, "needs `url`"),
        ({"platform": {"kind": "mturk"}, "url": "http://x.example"}, "https `url`"),
        ({"platform": {"kind": "link", "url": "javascript:alert(1)"}}, "match"),
        ({"against": []}, "at least 1"),
        ({"against": ["teacher", "teacher"]}, "names somebody twice"),
        ({"exclude": {"faster_than": 0}}, "greater than 0"),
    ],
)
def test_a_section_that_cannot_work_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PeopleSpec.model_validate(given)
