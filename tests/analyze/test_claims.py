"""A claim is supported by all of its parts, contradicted by one, and never by chance alone."""

import numpy as np

from veneer.analyze.claims import verdict_of, weigh
from veneer.analyze.parts import Part
from veneer.stats import Draws, Undefined

NORMAL = np.random.default_rng(1).standard_normal(2000)


def part(value: float, claim: int = 1) -> Part:
    number = Draws(value=value, draws=value + NORMAL, n=1000)
    return Part(claim=claim, what="a number", number=number, direction="above", threshold=0.0, where="gap")


def test_a_clear_part_is_supported_and_a_clear_opposite_contradicted() -> None:
    found = weigh([part(8.0), part(-8.0), part(0.5)], 0.95)
    assert [one.verdict for one in found] == ["supported", "contradicted", "undecided"]


def test_what_one_part_would_show_alone_is_not_enough_among_twenty() -> None:
    alone, among = weigh([part(2.2)], 0.95), weigh([part(2.2)] * 20, 0.95)
    assert alone[0].verdict == "supported"
    assert {one.verdict for one in among} == {"undecided"}


def test_an_undefined_part_is_undecided() -> None:
    missing = Part(
        claim=1,
        what="",
        number=Undefined(reason="no data", n=0),
        direction="above",
        threshold=0.0,
        where="gap",
    )
    assert weigh([missing], 0.95)[0].verdict == "undecided"


def test_of_null_studies_at_most_one_in_twenty_supports_anything() -> None:
    rng = np.random.default_rng(4)
    supported = 0
    for _ in range(300):
        parts = [part(value) for value in rng.standard_normal(10).tolist()]
        supported += any(one.verdict == "supported" for one in weigh(parts, 0.95))
    assert supported / 300 <= 0.05


def test_one_contradicted_part_contradicts_its_claim() -> None:
    assert verdict_of(["supported", "contradicted", "undecided"]) == "contradicted"
    assert verdict_of(["supported", "supported"]) == "supported"
    assert verdict_of([]) == "undecided"
