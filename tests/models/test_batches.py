"""Asking through the Batch API: everything is answered, whatever breaks, and nothing is paid for twice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai.resources.batches import Batches

from tests.models.batch_server import Provider, answered, expired, provider, refused
from veneer.errors import BudgetError, ModelError
from veneer.models import batches
from veneer.models.journal import Journal, open_journal
from veneer.models.model import Sampling
from veneer.models.prices import Price
from veneer.models.remote import RemoteModel
from veneer.models.request import Request, Tally
from veneer.records import Message, Prompt
from veneer.study_data import EndpointSpec, PriceSpec

PRICE = Price(input=0.01, output=0.02, source="study")
COST = 10 * 0.01 + 5 * 0.02


@pytest.fixture
def server() -> Iterator[Provider]:
    with provider() as one:
        yield one


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as one:
        yield one


def requests(count: int, bound: float = 1.0) -> list[Request]:
    return [
        Request(
            key=f"key{number:03}",
            body={"model": "m", "messages": [{"role": "user", "content": f"Q{number}"}]},
            bound=bound,
            tokens=10,
        )
        for number in range(count)
    ]


def ask(server: Provider, journal: Journal, asked: list[Request], **more: Any) -> Tally:
    settings = {"url": server.url, "model": "m", "batch": True, **more.pop("endpoint", {})}
    cap, sleep = more.pop("cap", None), more.pop("sleep", lambda _: None)
    endpoint = EndpointSpec(**settings)
    return batches.ask(asked, endpoint, PRICE, cap, Path("unused"), journal, sleep=sleep, **more)


def texts(journal: Journal, asked: list[Request]) -> list[str | None]:
    found = [journal.find(one.key) for one in asked]
    return [one.text if one else None for one in found]


def test_every_request_is_answered_in_batches_of_the_given_size(server: Provider, journal: Journal) -> None:
    tally = ask(server, journal, requests(5), most_per_batch=2)
    assert (tally.answered, tally.already, sum(tally.failed.values()), tally.capped) == (5, 0, 0, False)
    assert texts(journal, requests(5)) == [f"A Q{number}" for number in range(5)]
    assert server.sizes == [2, 2, 1]


def test_batches_cost_what_the_server_says_was_used(server: Provider, journal: Journal) -> None:
    ask(server, journal, requests(4))
    assert journal.spent().paid == pytest.approx(4 * COST)
    assert journal.spent().maybe == 0


def test_a_batch_under_way_counts_towards_the_cap_whoever_asks_next(
    server: Provider, journal: Journal
) -> None:
    def leave(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(server, journal, requests(3), sleep=leave)
    other = [replace(one, key=f"other {one.key}") for one in requests(3)]
    tally = ask(server, journal, other, cap=4.5, endpoint={"model": "other"})
    # Three dollars may be gone: of 4.50, that leaves room for one at a time.
    assert (tally.answered, server.sizes) == (3, [3, 1, 1, 1])
    ask(server, journal, requests(3))
    assert journal.spent().maybe == 0


def test_what_has_its_answer_is_not_sent(server: Provider, journal: Journal) -> None:
    ask(server, journal, requests(3))
    tally = ask(server, journal, requests(5))
    assert (tally.already, tally.answered, server.sizes) == (3, 2, [3, 2])


def test_all_batches_are_made_before_the_first_is_waited_for(server: Provider, journal: Journal) -> None:
    made: list[int] = []
    ask(server, journal, requests(6), most_per_batch=2, sleep=lambda _: made.append(len(server.batches)))
    assert made[0] == 3


def test_a_call_killed_before_the_id_was_noted_is_taken_up_and_not_paid_twice(
    server: Provider, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Batches.create

    def killed(*given: Any, **named: Any) -> None:
        whole(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(server, journal, requests(3))
    assert [batch for _, batch in journal.open_batches()] == [None]
    # Others' batches stand before it in the account's list, pages of them.
    for number in range(5):
        server.batches[f"other_{number}"] = {
            "id": f"other_{number}",
            "object": "batch",
            "status": "completed",
        }
    assert ask(server, journal, requests(3)).answered == 3
    assert server.sizes == [3]
    assert set(server.executed.values()) == {1}


def test_a_call_killed_before_the_batch_was_made_makes_it(
    server: Provider, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(server, journal, requests(3))
    assert ask(server, journal, requests(3)).answered == 3
    assert journal.open_batches() == []


def test_ctrl_c_while_waiting_loses_nothing(server: Provider, journal: Journal) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(server, journal, requests(4), most_per_batch=2, sleep=interrupted)
    assert ask(server, journal, requests(4)).answered == 4
    assert server.sizes == [2, 2]


def test_a_batch_that_was_made_though_the_reply_was_an_error_is_taken_up(
    server: Provider, journal: Journal
) -> None:
    server.make = lambda _: 500
    assert ask(server, journal, requests(3)).answered == 3
    assert server.sizes == [3]


def test_only_what_failed_is_asked_again(server: Provider, journal: Journal) -> None:
    def say(key: str, question: str, time: int) -> dict[str, Any]:
        return refused(key, 500) if question in ("Q1", "Q3") and time == 1 else answered(key, question)

    server.say = say
    tally = ask(server, journal, requests(5))
    assert (tally.answered, server.sizes) == (5, [5, 2])
    assert server.executed == {"Q0": 1, "Q1": 2, "Q2": 1, "Q3": 2, "Q4": 1}


@pytest.mark.parametrize("how", ["expired", "cancelled"])
def test_what_a_batch_did_not_come_to_is_asked_again(server: Provider, journal: Journal, how: str) -> None:
    server.end = lambda number: how if number == 0 else "completed"
    server.say = lambda key, question, time: (
        expired(key) if question == "Q2" and time == 1 else answered(key, "A")
    )
    assert ask(server, journal, requests(4)).answered == 4
    assert server.sizes == [4, 1]
    assert journal.spent().maybe == 0


def test_what_always_fails_is_left_with_its_reason_after_so_many_batches(
    server: Provider, journal: Journal
) -> None:
    server.say = lambda key, question, _: refused(key, 503) if question == "Q1" else answered(key, "A")
    tally = ask(server, journal, requests(3), endpoint={"tries": 3})
    assert server.sizes == [3, 1, 1]
    assert (tally.answered, tally.failed) == (2, {"status 503: went wrong: server_error": 1})
    assert journal.failure("key001") == "status 503: went wrong: server_error"


def test_what_failed_is_asked_again_by_the_next_call(server: Provider, journal: Journal) -> None:
    server.say = lambda key, _, time: refused(key, 503) if time <= 2 else answered(key, "A")
    ask(server, journal, requests(2), endpoint={"tries": 2})
    assert ask(server, journal, requests(2), endpoint={"tries": 2}).answered == 2
    assert journal.failure("key001") == ""


def test_what_the_server_will_not_have_is_not_asked_again_in_this_call(
    server: Provider, journal: Journal
) -> None:
    server.say = lambda key, _, __: refused(key, 400, "too_long")
    tally = ask(server, journal, requests(2))
    assert (server.sizes, tally.failed) == ([2], {"status 400: went wrong: too_long": 2})
    assert journal.spent().maybe == 0


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON", b"[1]", b"{}", b'{"custom_id": "stranger", "response": null}', b'{"custom_id": "key001"}',
        b'{"custom_id": "key001", "response": {"status_code": "x"}}', b'{"custom_id": "key001", "response": [1]}',
        b'{"custom_id": "key001", "response": {"status_code": 200, "body": "\\ud800"}}',
        b'{"custom_id": "key001", "response": null, "error": {"message": "\\ud800"}}',
        b'{"custom_id": "key001", "response": null, "error": ["x"]}', b"\xff\xfe", b"[" * 100_000, None,
    ],
    ids=repr,
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_a_failure_of_its_request_alone(
    server: Provider, journal: Journal, line: bytes | None
) -> None:
    server.say = lambda key, question, _: line if question == "Q1" else answered(key, "A")
    tally = ask(server, journal, requests(3), endpoint={"tries": 1})
    assert (tally.answered, sum(tally.failed.values())) == (2, 1)
    assert journal.find("stranger") is None


def test_what_may_have_been_paid_without_an_answer_counts_as_spent(
    server: Provider, journal: Journal
) -> None:
    server.say = lambda key, question, _: b"broken" if question == "Q1" else answered(key, "A")
    ask(server, journal, requests(3, bound=0.7), endpoint={"tries": 2})
    assert journal.spent().maybe == pytest.approx(2 * 0.7)


def test_odd_line_ends_inside_an_answer_do_not_break_it(server: Provider, journal: Journal) -> None:
    odd = "one\u2028two\x85three\u2029four"
    server.say = lambda key, _, __: answered(key, odd)
    ask(server, journal, requests(2))
    assert texts(journal, requests(2)) == [odd, odd]


def test_odd_characters_in_a_question_do_not_break_its_batch(server: Provider, journal: Journal) -> None:
    odd = "one\u2028two\nthree\ud800"
    body = {"model": "m", "messages": [{"role": "user", "content": odd}]}
    assert ask(server, journal, [Request(key="k", body=body, bound=0.0, tokens=1)]).answered == 1
    assert list(server.executed) == [odd.replace("\ud800", "?")]


def test_a_batch_that_fails_validation_ends_the_call_in_the_servers_words(
    server: Provider, journal: Journal
) -> None:
    server.end = lambda _: "failed"
    with pytest.raises(ModelError, match="line 1 is not to my liking"):
        ask(server, journal, requests(2))
    assert journal.open_batches() == []


def test_a_batch_that_is_not_taken_ends_the_call_and_is_not_looked_for(
    server: Provider, journal: Journal
) -> None:
    server.make = lambda _: 400
    with pytest.raises(ModelError, match="no such thing"):
        ask(server, journal, requests(2))
    assert journal.open_batches() == []


def test_an_empty_account_ends_the_call_after_the_answers_are_kept(
    server: Provider, journal: Journal
) -> None:
    server.say = lambda key, question, _: (
        refused(key, 429, "insufficient_quota") if question == "Q0" else answered(key, "A")
    )
    with pytest.raises(ModelError, match="cannot pay"):
        ask(server, journal, requests(3))
    assert journal.answered() == 2
    server.say = lambda key, _, __: answered(key, "A")
    assert ask(server, journal, requests(3)).answered == 1


def test_results_that_are_gone_are_asked_again(server: Provider, journal: Journal) -> None:
    server.keeps = lambda name: name != "batch_0_output_file_id"
    assert ask(server, journal, requests(2)).answered == 2
    assert server.sizes == [2, 2]


def test_a_server_that_is_busy_for_a_while_is_waited_for(
    server: Provider, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    server.looked = lambda number: 503 if number < 10 else 200
    assert ask(server, journal, requests(2)).answered == 2


def test_another_endpoints_batches_are_left_alone(server: Provider, journal: Journal) -> None:
    journal.add_batch("elsewhere-1", ["x"], 0.5)
    assert ask(server, journal, requests(1)).answered == 1
    assert journal.open_batches() == [("elsewhere-1", None)]


def test_a_batch_is_made_smaller_to_fit_under_the_cap(server: Provider, journal: Journal) -> None:
    tally = ask(server, journal, requests(10, bound=1.0), cap=3.5)
    # 3 fit, and cost 0.6; then 2 fit into 2.9, and so on, until less than 1 is left.
    assert server.sizes[:2] == [3, 2]
    assert tally.capped == (tally.answered < 10)
    assert journal.spent().paid <= 3.5


def test_the_cap_ends_it_where_not_one_request_fits(server: Provider, journal: Journal) -> None:
    tally = ask(server, journal, requests(2, bound=1.0), cap=0.5)
    assert (tally.capped, tally.answered, sum(tally.failed.values()), server.sizes) == (True, 0, 0, [])


def test_a_remote_model_asks_in_batches_and_stops_at_its_cap(
    server: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.ask, "__kwdefaults__", {"sleep": lambda _: None, "most_per_batch": 10})
    endpoint = EndpointSpec(url=server.url, model="m", batch=True, price=PriceSpec(input=1.0, output=1.0))
    model = RemoteModel(name="t", endpoint=endpoint, journal=tmp_path / "j.sqlite", cap=1.0)
    prompts = [Prompt(prompt_id=f"p{n}", messages=(Message(role="user", content=f"Q{n}"),)) for n in range(3)]
    sampling = Sampling(temperature=0.0, max_tokens=16, stop=(), samples=1, seed=0)
    assert [one.text for one in model.generate(prompts, sampling)] == ["A Q0", "A Q1", "A Q2"]
    assert server.sizes == [3]
    poor = RemoteModel(name="t", endpoint=endpoint, journal=tmp_path / "k.sqlite", cap=1e-6)
    with pytest.raises(BudgetError, match="spend_cap"):
        list(poor.generate(prompts, sampling))


def test_the_key_is_never_shown(server: Provider, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_KEY", "no such thing")
    server.make = lambda _: 400
    with pytest.raises(ModelError) as caught:
        ask(server, journal, requests(1), endpoint={"key": "BATCH_KEY"})
    assert "no such thing" not in str(caught.value)
    assert caught.value.__cause__ is None
