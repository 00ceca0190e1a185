"""An endpoint is asked once for each answer: faults end in the right stop, nothing that was answered is paid again."""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.server import Server, serving
from veneer.errors import BudgetError, ModelError
from veneer.models import asking, limits
from veneer.models.flight import open_flight, settle
from veneer.models.inbox import open_inbox
from veneer.models.journal import Answer, open_journal
from veneer.models.model import Sampling
from veneer.models.remote import RemoteModel
from veneer.models.wire import Reply
from veneer.records import Completion, Message, Prompt, Stop
from veneer.study_data import EndpointSpec, PriceSpec

SAMPLING = Sampling(temperature=1.0, max_tokens=50)
HEARD, UNHEARD = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_BACKOFF", 0.01)


def remote(server: Server, folder: Path, cap: float | None = None, **settings: Any) -> RemoteModel:
    given = {"tries": 2, "timeout": 0.5, "concurrency": 4, **settings}
    endpoint = EndpointSpec(url=server.url, model="m", **given)
    return RemoteModel(name="teacher", endpoint=endpoint, journal=folder / "journal.sqlite", cap=cap)


def prompts(*said: str) -> list[Prompt]:
    return [
        Prompt(prompt_id=f"p{place}", messages=(Message(role="user", content=text),))
        for place, text in enumerate(said)
    ]


def asked(model: RemoteModel, *said: str) -> list[Completion]:
    return list(model.generate(prompts(*said), SAMPLING))


def test_answers_come_in_order_with_their_tokens(server: Server, tmp_path: Path) -> None:
    found = asked(remote(server, tmp_path), "abc", "def")
    assert [(one.prompt_id, one.text, one.stop) for one in found] == [
        ("p0", "cba", Stop.END),
        ("p1", "fed", Stop.END),
    ]
    assert (found[0].tokens_in, found[0].tokens_out) == (10, 20)


def test_more_stop_strings_than_endpoints_take_are_met_all_the_same(server: Server, tmp_path: Path) -> None:
    sampling = Sampling(temperature=0.0, max_tokens=50, stop=("1", "2", "3", "4", "x"))
    model = remote(server, tmp_path)
    (found,) = model.generate(prompts("after x before"), sampling)
    assert (found.text, found.stop, found.detail) == ("erofeb ", Stop.END, "x")
    assert model._request(prompts("a")[0], sampling, 0, None).body["stop"] == ["1", "2", "3", "4"]


def test_samples_of_one_prompt_are_asked_apart(server: Server, tmp_path: Path) -> None:
    before = len(server.seen())
    sampling = Sampling(temperature=1.0, max_tokens=50, samples=3)
    found = list(remote(server, tmp_path).generate(prompts("several"), sampling))
    assert [one.sample for one in found] == [0, 1, 2]
    assert len(server.seen()) - before == 3


@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("length", Stop.LENGTH),
        ("content_filter", Stop.REFUSED),
        ("filtered", Stop.REFUSED),
        ("429 once", Stop.END),
        ("500 once", Stop.END),
        ("503 once", Stop.END),
        ("cut once", Stop.END),
        ("broken json once", Stop.END),
        ("no choices once", Stop.END),
        ("slow once", Stop.END),
    ],
)
def test_every_fault_ends_in_the_right_stop(server: Server, tmp_path: Path, said: str, stop: Stop) -> None:
    assert asked(remote(server, tmp_path), said)[0].stop is stop


@pytest.mark.parametrize("said", ["500", "cut", "broken json", "no choices", "tool", "400"])
def test_what_always_fails_is_a_failure_without_text_and_stops_no_other(
    server: Server, tmp_path: Path, said: str
) -> None:
    found = asked(remote(server, tmp_path, may_fail=0.5), "good", said, "too")
    assert [one.stop for one in found] == [Stop.END, Stop.FAILED, Stop.END]
    assert (found[1].text, bool(found[1].detail)) == ("", True)


class BusyWire:
    """It turns `often` away until forty others have had their answers, each time after one of them had."""

    def __init__(self) -> None:
        self.answered = self.turned_away = 0
        self.another = asyncio.Event()

    async def send(self, body: dict[str, Any]) -> Reply:
        said = body["messages"][-1]["content"]
        if said != "often":
            await asyncio.sleep(0.005)
            self.answered += 1
            self.another.set()
        elif self.answered < 40:
            await self.another.wait()
            self.another.clear()
            self.turned_away += 1
            return Reply(status=429, headers={"retry-after-ms": "1"}, body=b"{}")
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        return Reply(status=200, headers={}, body=json.dumps({"choices": [choice]}).encode())

    async def close(self) -> None:
        pass


def test_a_server_that_is_busy_with_others_uses_up_no_try(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = BusyWire()

    async def opened(_: EndpointSpec) -> BusyWire:
        return wire

    monkeypatch.setattr(asking, "open_wire", opened)
    found = asked(remote(server, tmp_path, concurrency=2), "often", *(f"other {n}" for n in range(40)))
    assert {one.stop for one in found} == {Stop.END}
    assert wire.turned_away > 2


def test_a_server_that_is_busy_and_answers_nobody_uses_up_the_tries(server: Server, tmp_path: Path) -> None:
    before = len(server.seen())
    with pytest.raises(ModelError, match=r"1 x status 429: slow down"):
        asked(remote(server, tmp_path), "429")
    assert len(server.seen()) - before == 2


def test_a_query_that_is_there_twice_counts_once_among_failures(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="1 of 2 requests have no answer"):
        asked(remote(server, tmp_path, may_fail=0.4), "500", "500", "good")


def test_exactly_as_many_as_may_fail_may(server: Server, tmp_path: Path) -> None:
    said = [f"{number} too long" for number in range(29)] + [f"query {number}" for number in range(71)]
    found = asked(remote(server, tmp_path, may_fail=0.29), *said)
    assert Counter(one.stop for one in found) == {Stop.FAILED: 29, Stop.END: 71}


def test_failures_are_reported_and_asked_again_alone(tmp_path: Path) -> None:
    with serving() as fresh:
        _fails_and_is_asked_again(fresh, remote(fresh, tmp_path, tries=1))


def _fails_and_is_asked_again(server: Server, model: RemoteModel) -> None:
    with pytest.raises(ModelError, match=r"1 of 3 requests have no answer \(1 x status 500: busy\)"):
        asked(model, "one", "500 once", "two")
    before = len(server.seen())
    assert [one.stop for one in asked(model, "one", "500 once", "two")] == [Stop.END] * 3
    assert server.seen()[before:] == ["500 once"]


@pytest.mark.parametrize(
    ("said", "words"),
    [("401", "refuses the key"), ("model", "does not know the model"), ("quota", "the account cannot pay")],
)
def test_what_no_request_can_get_past_stops_at_once(
    server: Server, tmp_path: Path, said: str, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        asked(remote(server, tmp_path), said)


def test_the_key_is_sent_and_shown_nowhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-secret")
    with pytest.raises(ModelError) as error:
        asked(remote(server, tmp_path, key="TEACHER_KEY"), "401")
    assert "sk-secret" not in str(error.value)
    assert "[key]" in str(error.value)
    assert "sk-secret" not in "".join(traceback.format_exception(error.value))
    assert not any(b"sk-secret" in file.read_bytes() for file in tmp_path.iterdir())


def test_an_unset_key_is_named_before_anything_is_asked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="variable NO_SUCH_KEY is not set"):
        asked(remote(server, tmp_path, key="NO_SUCH_KEY"), "hello")


def test_another_setting_is_another_request(server: Server, tmp_path: Path) -> None:
    before = len(server.seen())
    asked(remote(server, tmp_path), "same words")
    asked(remote(server, tmp_path), "same words")
    asked(remote(server, tmp_path, extra={"top_p": 0.5}), "same words")
    assert len(server.seen()) - before == 2


def test_the_cap_is_never_passed(server: Server, tmp_path: Path) -> None:
    model = remote(server, tmp_path, cap=0.05, price=PriceSpec(input=10, output=100))
    with pytest.raises(BudgetError, match="Raise spend_cap and run again"):
        asked(model, *(f"query {number}" for number in range(100)))
    with open_journal(model.journal) as journal:
        spent = journal.spent()
    # Each answer costs 10 x 10 + 20 x 100 dollars a million: 0.0021.
    assert 0.04 < spent.paid <= 0.05
    assert spent.maybe == 0


def test_the_cap_says_how_many_requests_are_left(server: Server, tmp_path: Path) -> None:
    model = remote(server, tmp_path, cap=0.05, price=PriceSpec(input=10, output=100))
    with pytest.raises(BudgetError) as error:
        asked(model, *(f"left {number}" for number in range(1000)))
    with open_journal(model.journal) as journal:
        assert f" {1000 - journal.answered()} requests are left." in str(error.value)


def test_what_a_killed_process_had_received_is_paid_and_not_maybe(server: Server, tmp_path: Path) -> None:
    model = remote(server, tmp_path, price=PriceSpec(input=1, output=1))
    answer = Answer(text="x", stop=Stop.END, detail="", tokens_in=1, tokens_out=1, model="m", cost=0.5)
    with (
        open_journal(model.journal) as journal,
        open_flight(model.journal) as flight,
        open_inbox(model.journal, journal) as inbox,
    ):
        flight.depart(0, HEARD, 0.75)
        flight.depart(1, UNHEARD, 1.25)
        inbox.put(HEARD, answer)
    asked(model)
    with open_journal(model.journal) as journal:
        assert (journal.spent().paid, journal.spent().maybe) == (0.5, 1.25)


def test_a_cap_without_a_price_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no price is known"):
        asked(remote(server, tmp_path, cap=1.0), "hello")


def test_no_more_requests_are_in_flight_than_allowed(tmp_path: Path) -> None:
    with serving(latency=0.02) as slow:
        asked(remote(slow, tmp_path, concurrency=7), *(f"q{number}" for number in range(60)))
        assert slow.most_at_once() == 7


CHILD = """
import sys
from pathlib import Path
from tests.models.server import Server
from tests.models.test_remote import prompts, remote, SAMPLING
price = {"input": 1, "output": 1}
model = remote(Server(sys.argv[1], None), Path(sys.argv[2]), concurrency=16, timeout=30, price=price)
model.ask(prompts(*(f"query {number}" for number in range(2000))), SAMPLING)
"""


def collect(url: str, folder: Path) -> None:
    with multiprocessing.Pipe()[0] as unused:
        model = remote(
            Server(url, unused), folder, concurrency=16, timeout=30, price={"input": 1, "output": 1}
        )
        model.ask(prompts(*(f"query {number}" for number in range(2000))), SAMPLING)


def test_killed_twenty_times_nothing_is_lost_and_no_recorded_answer_is_asked_again(tmp_path: Path) -> None:
    rng, kept, again, kills = random.Random(7), set[str](), 0, 0
    given = set[str]()
    twice: list[int] = []
    # Children are forked from a process that has loaded everything: each would need a second for it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.models.test_remote", "veneer.models.remote"])
    with serving(latency=0.01) as slow:
        while kills < 20:
            before = len(slow.seen())
            child = context.Process(target=collect, args=(slow.url, tmp_path))
            child.start()
            while len(slow.seen()) == before and child.is_alive():
                time.sleep(0.005)
            time.sleep(rng.uniform(0.01, 0.08))
            child.kill()
            child.join()
            assert child.exitcode == -signal.SIGKILL
            kills += 1
            again += sum(said in kept for said in slow.seen()[before:])
            twice.append(sum(said in given for said in slow.seen()[before:]))
            kept, given = recorded(tmp_path), set(slow.sent())
        before = len(slow.seen())
        done = context.Process(target=collect, args=(slow.url, tmp_path))
        done.start()
        done.join()
        again += sum(said in kept for said in slow.seen()[before:])
        twice.append(sum(said in given for said in slow.seen()[before:]))
        times = Counter(slow.seen())
    assert (done.exitcode, len(recorded(tmp_path)), again) == (0, 2000, 0)
    # Answers that the server had sent whole, and nobody lived to read: no more of them than were in flight.
    assert max(twice) <= 16
    # What was in flight at a kill had not been received: at most 16 requests each time.
    assert sum(count - 1 for count in times.values()) <= 20 * 16
    with open_journal(tmp_path / "journal.sqlite") as journal:
        assert journal.spent().maybe > 0


def test_a_kill_counts_only_what_was_sent_as_perhaps_paid(tmp_path: Path) -> None:
    with serving(latency=0.5) as slow:
        child = multiprocessing.get_context("spawn").Process(target=collect, args=(slow.url, tmp_path))
        child.start()
        while len(slow.seen()) < 16:
            time.sleep(0.01)
        child.kill()
        child.join()
    with open_journal(tmp_path / "journal.sqlite") as journal:
        settle(tmp_path / "journal.sqlite", journal)
        each = remote(slow, tmp_path, concurrency=16, timeout=30, price={"input": 1, "output": 1})
        (request,) = each.requests(prompts("query 10"), SAMPLING)
        # 16 were in flight; more than a hundred waited behind them.
        assert journal.spent().maybe == pytest.approx(16 * request.bound, rel=0.02)


def test_sixteen_that_nobody_answers_end_a_run_that_had_no_answer_yet(server: Server, tmp_path: Path) -> None:
    model, before = remote(server, tmp_path, tries=1), len(server.seen())
    with pytest.raises(ModelError, match=r"none of the last 16 requests \(of the last: status 500: busy\)"):
        list(model.generate(prompts("500"), Sampling(temperature=1.0, max_tokens=50, samples=200)))
    assert len(server.seen()) - before < 40


def test_what_was_asked_in_vain_comes_last_on_the_next_run(tmp_path: Path) -> None:
    said = [f"{number} too long" for number in range(16)] + [f"query {number}" for number in range(30)]
    with serving() as fresh:
        model = remote(fresh, tmp_path, concurrency=1)
        with pytest.raises(ModelError, match="answered none of the last 16"):
            asked(model, *said)
        with pytest.raises(ModelError, match="16 of 46 requests have no answer"):
            asked(model, *said)
        assert len(recorded(tmp_path)) == 30


def test_as_many_as_may_fail_fail_in_a_row_before_the_others_are_asked(tmp_path: Path) -> None:
    said = [f"{number} too long" for number in range(16)] + [f"query {number}" for number in range(30)]
    with serving() as fresh:
        found = asked(remote(fresh, tmp_path, concurrency=1, may_fail=0.5), *said)
        assert Counter(one.stop for one in found) == {Stop.FAILED: 16, Stop.END: 30}
        again = asked(remote(fresh, tmp_path, concurrency=1, may_fail=0.5), *said)
    assert again == found


def test_where_nobody_listens_the_asking_ends_however_many_may_fail(tmp_path: Path) -> None:
    model = remote(Server("http://127.0.0.1:9/v1", None), tmp_path, tries=1, may_fail=1)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"none of the last 16 requests \(of the last: refused:"):
        asked(model, *(f"query {number}" for number in range(100)))


def test_a_server_that_refuses_some_and_answers_others_is_not_down(tmp_path: Path) -> None:
    said = ["query", *(f"{number} too long" for number in range(40)), "last"]
    with serving() as fresh, pytest.raises(ModelError, match="40 of 42 requests have no answer"):
        asked(remote(fresh, tmp_path, concurrency=1), *said)
    assert recorded(tmp_path) == {"query", "last"}


def recorded(folder: Path) -> set[str]:
    with open_journal(folder / "journal.sqlite") as journal:
        return {text[::-1] for (text,) in journal.base.execute("SELECT text FROM answers")}


def test_a_signal_to_end_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    with serving(latency=0.1) as slow:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, slow.url, str(tmp_path)], cwd=Path(__file__).parents[2]
        )
        while len(slow.seen()) < 40:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(10) == 128 + signal.SIGTERM
        assert len(recorded(tmp_path)) == len(slow.seen())
