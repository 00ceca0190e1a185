"""Whatever is sent to whichever route, logged in or not: no error of the server, and nothing of another rater."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from tests.rate.conftest import Visitor, hidden
from veneer.rate.serve import Site

Open = Callable[..., Site]
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
HIS_WORDS = "only-bob-wrote-this"

texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "first", "yes", "none", "\x00", "../../etc/passwd", "' OR 1=1 --", "{{7*7}}", "٣", "9" * 400]
    ),
)
names = st.one_of(
    st.sampled_from(["verdict", "style", "correctness", "pair", "mark", "consent", "reason", "source", "many",
                     "PROLIFIC_PID", "STUDY_ID", "SESSION_ID", "assignmentId", "workerId", "turkSubmitTo"]),
    st.text(max_size=12),
)  # fmt: skip
fields = st.dictionaries(names, texts, max_size=6)


class Rooms:
    """A site with two raters at work and an owner, and everybody's secrets."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.hall.visitors.burst = site.hall.guests.burst = 10**9
        self.ann, self.bob, self.owner = Visitor(site), Visitor(site), Visitor(site)
        for visitor in (self.ann, self.bob, self.owner):
            visitor.link = visitor.link.split("?")[0]
            visitor.browser.follow_redirects = False
        self.hers = self.begun(self.ann, "ann-pid")
        self.his = self.begun(self.bob, "bob-pid")
        self.bob.browser.post("/work", data={**hidden(self.his), "verdict": "first", "reason": HIS_WORDS})
        self.his += self.bob.browser.get("/work").text
        self.owner.browser.get(site.owners_link)
        secret = site.owners_link.rsplit("/", 1)[1]
        self.private = {secret, "bob-pid", HIS_WORDS, "rater-2"}
        self.private |= set(hidden(self.his).values()) | set(self.bob.browser.cookies.values())
        self.paths = [
            "/", "/work", "/owner", "/owner/invite", "/owner/peek", "/owner/export/votes.csv", "/owner/x", "/start/x",
            "/owner/export/raters.csv", "/static/style.css", "/static/../app.py", "/favicon.ico", self.ann.link,
        ]  # fmt: skip

    def begun(self, visitor: Visitor, pid: str) -> str:
        query = f"?PROLIFIC_PID={pid}&STUDY_ID=s&SESSION_ID=v"
        welcome = visitor.browser.get(visitor.link + query).text
        visitor.browser.post(visitor.link + query, data={**hidden(welcome), "consent": "yes"})
        return visitor.browser.get("/work").text


@pytest.fixture
def rooms(opening: Open) -> Rooms:
    return Rooms(opening(ask={"reason": True}, platform={"kind": "prolific", "code": "C"}, timeout=0.001))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_breaks_the_server_or_tells_of_another_rater(rooms: Rooms, data: st.DataObject) -> None:
    who = data.draw(st.sampled_from(["nobody", "ann", "owner"]))
    browser = {"nobody": Visitor(rooms.site).browser, "ann": rooms.ann.browser, "owner": rooms.owner.browser}[
        who
    ]
    browser.follow_redirects = False
    path = data.draw(st.one_of(st.sampled_from(rooms.paths), st.text(max_size=20).map(quoted)))
    sent: dict[str, Any] = {"params": data.draw(fields)}
    if data.draw(st.booleans()):
        sent["data"] = data.draw(fields) | (hidden(rooms.hers) if data.draw(st.booleans()) else {})
    elif data.draw(st.booleans()):
        sent["content"] = data.draw(st.binary(max_size=200))
        sent["headers"] = {
            "content-type": data.draw(st.sampled_from(["application/x-www-form-urlencoded", "x", ""]))
        }
    if data.draw(st.integers(0, 9)) == 0:
        sent.setdefault("headers", {})["cookie"] = data.draw(
            st.sampled_from([b"rater=x", b"owner=\xc3\xa9", b"rater=;;", b"=", b"\xff", b"rater=\xff"])
        )
    answer = browser.request(data.draw(st.sampled_from(METHODS)), path, **sent)
    assert answer.status_code < 500
    assert "content-security-policy" in answer.headers
    if who != "owner":
        whole = answer.text + str(answer.headers)
        assert not [word for word in rooms.private if word in whole]
    assert "Traceback" not in answer.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stolen=st.dictionaries(st.sampled_from(["pair", "mark"]), st.booleans(), min_size=1), verdict=texts)
def test_another_raters_form_votes_for_nobody(rooms: Rooms, stolen: dict[str, bool], verdict: str) -> None:
    before = len(votes_of(rooms, 2))
    form = hidden(rooms.hers) | {name: hidden(rooms.his)[name] for name, take in stolen.items() if take}
    answer = rooms.ann.browser.post("/work", data={**form, "verdict": verdict})
    assert answer.status_code < 500
    assert len(votes_of(rooms, 2)) == before


def votes_of(rooms: Rooms, rater: int) -> list[Any]:
    return list(rooms.site.hall.desk.raters[rater].acts)


def quoted(text: str) -> str:
    return "/" + "".join(f"%{byte:02x}" for byte in text.encode())


def test_the_fuzzer_knows_every_route(rooms: Rooms) -> None:
    for route in rooms.site.site.routes:
        assert isinstance(route, Route)
        assert any(route.path_regex.match(path) for path in rooms.paths), route.path
