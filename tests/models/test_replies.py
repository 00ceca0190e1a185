"""Every reply is an answer, something to try again, or a failure; nothing that is not whole is taken for text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.errors import ModelError
from veneer.models.journal import Answer
from veneer.models.replies import Failure, Retry, read
from veneer.models.wire import Reply
from veneer.records import Stop
from veneer.study_data import EndpointSpec

CHAT = EndpointSpec(url="http://127.0.0.1/v1", model="m")
PLAIN = EndpointSpec(url="http://127.0.0.1/v1", model="m", api="completions")
KEYED = EndpointSpec(url="http://127.0.0.1/v1", model="m", key="TEACHER_KEY")
SECRET = "sk-" + "5ecret" * 8


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers=headers, body=raw)


def chat(reason: object = "stop", **message: object) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "yes", **message}, "finish_reason": reason}], "model": "m-1"}


def error(said: str, code: str = "") -> dict[str, Any]:
    return {"error": {"message": said, "code": code}}


@pytest.mark.parametrize(
    ("body", "stop", "text"),
    [
        (chat(), Stop.END, "yes"),
        (chat("length"), Stop.LENGTH, "yes"),
        (chat("content_filter", content=None), Stop.REFUSED, ""),
        (chat(content=None, refusal="I will not"), Stop.REFUSED, ""),
        (chat("length", content=None), Stop.LENGTH, ""),
        (chat("STOP"), Stop.END, "yes"),
        (chat("MAX_TOKENS"), Stop.LENGTH, "yes"),
        (chat("SAFETY", content=None), Stop.REFUSED, ""),
        (chat("content_filter: RECITATION"), Stop.REFUSED, "yes"),
    ],
)
def test_an_answer_ends_in_its_stop(body: Any, stop: Stop, text: str) -> None:
    found = read(reply(body), CHAT)
    assert isinstance(found, Answer)
    assert (found.stop, found.text, found.cost) == (stop, text, None)


def test_a_plain_completion_keeps_its_text_as_it_is() -> None:
    found = read(reply({"choices": [{"text": " yes\n", "finish_reason": "stop"}]}), PLAIN)
    assert isinstance(found, Answer)
    assert found.text == " yes\n"


def test_tokens_and_the_models_version_are_kept() -> None:
    body = {**chat(), "system_fingerprint": "fp_9", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    found = read(reply(body), CHAT)
    assert isinstance(found, Answer)
    assert (found.model, found.tokens_in, found.tokens_out) == ("m-1 fp_9", 7, 2)


@pytest.mark.parametrize("count", [-1, True, "7", 1.5, None, 2**70])
def test_a_count_of_tokens_that_is_none_is_no_count(count: object) -> None:
    found = read(reply({**chat(), "usage": {"prompt_tokens": count}}), CHAT)
    assert isinstance(found, Answer)
    assert found.tokens_in == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"mess',
        b"",
        b"\xff",
        [],
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"finish_reason": "stop"}]},
        chat(content=None),
        chat(content=["yes"]),
        chat("tool_calls"),
        chat(content="\ud800"),
    ],
)
def test_what_is_not_whole_is_tried_again_and_may_have_been_paid(body: Any) -> None:
    found = read(reply(body), CHAT)
    assert isinstance(found, Retry)
    assert found.charged


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_a_busy_server_is_tried_again(status: int) -> None:
    assert isinstance(read(reply(error("busy"), status), CHAT), Retry)


def test_a_time_out_of_the_server_may_have_been_paid_and_a_refusal_for_its_number_was_not() -> None:
    charged = [read(reply(error("no"), status), CHAT) for status in (408, 429)]
    assert [one.charged for one in charged if isinstance(one, Retry)] == [True, False]


def test_an_error_in_the_place_of_an_answer_is_quoted() -> None:
    found = read(reply(error("the provider is down")), CHAT)
    assert isinstance(found, Retry)
    assert found.reason.endswith("but an error: the provider is down")


def test_retry_after_is_heeded() -> None:
    found = read(Reply(status=429, headers={"retry-after": "7"}, body=b"{}"), CHAT)
    assert isinstance(found, Retry)
    assert found.after == 7.0


@pytest.mark.parametrize("status", [307, 400, 413, 422])
def test_a_request_that_the_server_will_not_have_is_a_failure(status: int) -> None:
    assert read(reply(error("no"), status), CHAT) == Failure(reason=f"status {status}: no")


def test_a_400_for_its_content_is_a_refusal() -> None:
    found = read(reply(error("filtered", "content_filter"), 400), CHAT)
    assert isinstance(found, Answer)
    assert (found.stop, found.text, found.detail) == (Stop.REFUSED, "", "filtered")
    assert not found.counted, "it may cost as much as an answer"


def test_a_403_is_of_this_request_until_every_request_has_one() -> None:
    found = read(reply(error("not you"), 403), CHAT)
    assert isinstance(found, Failure)
    assert "status 403" in found.reason


@pytest.mark.parametrize(
    "body",
    [
        error("blocked", "content_policy_violation"),
        {"error": {"message": "flagged", "code": 403, "metadata": {"reasons": ["x"], "flagged_input": "y"}}},
    ],
)
def test_a_403_of_moderation_is_a_refusal(body: Any) -> None:
    found = read(reply(body, 403), CHAT)
    assert isinstance(found, Answer)
    assert found.stop is Stop.REFUSED


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "", "refuses the key"),
        (404, "model_not_found", "does not know the model 'm'"),
        (404, "", "no such address"),
        (429, "insufficient_quota", "the account cannot pay"),
        (402, "", "the account cannot pay"),
    ],
)
def test_what_no_request_can_get_past_ends_the_run(status: int, code: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read(reply(error("said", code), status), CHAT)


@pytest.mark.parametrize("before", [0, 260, 270, 299])
def test_a_key_that_the_server_says_back_is_hidden_even_where_its_words_are_cut(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    found = read(reply(error("a" * before + SECRET), 400), KEYED)
    assert isinstance(found, Failure)
    assert "sk-" not in found.reason


def test_a_key_that_the_server_says_back_stands_in_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    filtered = read(reply(error(f"filtered for {SECRET}", "content_filter"), 400), KEYED)
    refused = read(reply({**chat(content=None, refusal=f"no, {SECRET}"), "model": SECRET}), KEYED)
    assert SECRET not in repr(filtered) + repr(refused)
    assert "[key]" in repr(filtered)


def test_a_key_that_the_server_says_back_stands_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", SECRET)
    with pytest.raises(ModelError) as caught:
        read(reply(error(f"wrong key {SECRET}"), 401), KEYED)
    assert SECRET not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ODD = st.fixed_dictionaries(
    {
        "choices": JSON
        | st.lists(
            st.fixed_dictionaries(
                {"finish_reason": JSON, "message": JSON | st.fixed_dictionaries({"content": JSON})}
            ),
            max_size=2,
        ),
        "usage": JSON | st.fixed_dictionaries({"prompt_tokens": JSON, "completion_tokens": JSON}),
        "model": JSON,
        "error": JSON,
    }
)


@given(body=JSON | ODD, status=st.sampled_from([200, 400, 404, 429, 500]))
def test_no_reply_is_too_odd_to_be_read(body: Any, status: int) -> None:
    try:
        found = read(reply(body, status), CHAT)
    except ModelError:
        return
    assert isinstance(found, Answer | Retry | Failure)


@given(body=st.binary(max_size=200))
def test_bytes_that_are_no_json_are_never_text(body: bytes) -> None:
    assert not isinstance(read(reply(body), CHAT), Answer)
