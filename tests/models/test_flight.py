"""What was sent and never heard of is told from what only waited, after any kill."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from veneer.models.flight import LINE, WIDTH, open_flight, settle
from veneer.models.journal import Answer, open_journal
from veneer.records import Stop

ONE, TWO, THREE = "a" * 64, "b" * 64, "c" * 64
ANSWER = Answer(text="yes", stop=Stop.END, detail="", tokens_in=3, tokens_out=1, model="m", cost=0.25)


def maybe(path: Path) -> float:
    with open_journal(path) as journal:
        settle(path, journal)
        return journal.spent().maybe


def test_what_went_out_and_did_not_land_may_have_been_paid_once(tmp_path: Path) -> None:
    with open_flight(tmp_path / "j") as flight:
        flight.depart(0, ONE, 0.5)
        flight.depart(7, TWO, 1e-07)
        flight.depart(3, THREE, 2.0)
        flight.land(3)
    assert maybe(tmp_path / "j") == 0.5 + 1e-07
    assert maybe(tmp_path / "j") == 0.5 + 1e-07


def test_what_has_its_answer_is_paid_and_not_maybe(tmp_path: Path) -> None:
    with open_flight(tmp_path / "j") as flight, open_journal(tmp_path / "j") as journal:
        flight.depart(0, ONE, 0.5)
        journal.record([(ONE, ANSWER)])
    assert maybe(tmp_path / "j") == 0.0


def test_a_line_holds_its_last_request_alone(tmp_path: Path) -> None:
    with open_flight(tmp_path / "j") as flight:
        flight.depart(0, ONE, 0.5)
        flight.land(0)
        flight.depart(0, TWO, 0.125)
    assert maybe(tmp_path / "j") == 0.125


@given(most=st.floats(min_value=0, max_value=1e9, allow_subnormal=False))
def test_every_amount_comes_back_as_it_was_noted(most: float) -> None:
    row = f"{ONE} {most!r}".ljust(WIDTH - 1).encode() + b"\n"
    ((_, found),) = LINE.findall(b"\0" * WIDTH + row)
    assert float(found) == most
