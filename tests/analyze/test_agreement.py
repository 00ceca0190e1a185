"""Agreement beyond chance: the published worked examples, and intervals that cover what was planted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.analyze.agreement import cohen_kappa, krippendorff_alpha
from veneer.stats import Estimate, Number, Undefined

LABELS = ("first", "second", "tie")


def kappa(first: str, second: str, seed: int = 0, clusters: list[int] | None = None) -> Number:
    rng = np.random.default_rng(seed)
    return cohen_kappa(list(first), list(second), level=0.95, resamples=400, rng=rng, clusters=clusters)


def alpha(units: list[str], seed: int = 0, clusters: list[int] | None = None) -> Number:
    rng = np.random.default_rng(seed)
    return krippendorff_alpha(
        [list(unit) for unit in units], level=0.95, resamples=400, rng=rng, clusters=clusters
    )


def value(number: Number) -> float:
    assert isinstance(number, Estimate)
    return number.value


def width(number: Number) -> float:
    assert isinstance(number, Estimate)
    return number.high - number.low


def test_kappa_is_that_of_the_textbook_table() -> None:
    """50 grant proposals, both yes 20, both no 15, yes/no 5, no/yes 10: agreement 0.7, chance 0.5, kappa 0.4."""
    assert value(kappa("y" * 25 + "n" * 25, "y" * 20 + "n" * 5 + "y" * 10 + "n" * 15)) == pytest.approx(0.4)


def test_alpha_is_that_of_krippendorffs_example_with_missing_ratings() -> None:
    """Krippendorff 2011, section C: four observers, twelve units, one of them with a single rating: 0.743."""
    units = ["111", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", "555", "11", "3"]
    found = alpha(units)
    assert value(found) == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11


def test_perfect_agreement_is_one_and_not_certain() -> None:
    found = kappa("12" * 10, "12" * 10)
    assert isinstance(found, Estimate)
    assert found.value == found.high == 1.0
    assert 0.7 < found.low < 0.95


def test_one_label_throughout_is_undefined() -> None:
    for found in (kappa("1" * 20, "1" * 20), alpha(["11"] * 20)):
        assert isinstance(found, Undefined)
        assert "chance" in found.reason


def test_nearly_one_label_is_undefined_too() -> None:
    assert isinstance(alpha(["11"] * 30 + ["12"]), Undefined)


def test_few_units_and_units_rated_once_are_undefined() -> None:
    assert isinstance(kappa("12" * 4, "12" * 4), Undefined)
    found = alpha(["1", "2"] * 20)
    assert isinstance(found, Undefined)
    assert found.n == 0


def test_two_who_rated_nothing_in_common_have_no_kappa() -> None:
    found = cohen_kappa([], [], level=0.95, resamples=100, rng=np.random.default_rng(0))
    assert isinstance(found, Undefined)


def test_repeated_units_of_one_prompt_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    first = "".join(rng.choice(list("12="), 60))
    second = "".join(one if rng.random() < 0.6 else rng.choice(list("12=")) for one in first)
    once = kappa(first, second)
    apart = kappa(first * 4, second * 4)
    together = kappa(first * 4, second * 4, clusters=list(range(60)) * 4)
    assert width(apart) < 0.7 * width(once)
    assert width(together) == pytest.approx(width(once), rel=0.15)
    assert together.n == 60


@pytest.mark.parametrize("raters", [2, 3])
def test_intervals_cover_the_planted_agreement(raters: int) -> None:
    """Raters who see the truth with chance q, else guess evenly, have kappa = alpha = q squared."""
    covered, studies, q = 0, 200, 0.7
    for seed in range(studies):
        rng = np.random.default_rng([seed, raters])
        truth = rng.choice(LABELS, size=80)
        seen = [np.where(rng.random(80) < q, truth, rng.choice(LABELS, size=80)) for _ in range(raters)]
        if raters == 2:
            one, other = seen[0].tolist(), seen[1].tolist()
            found = cohen_kappa(one, other, level=0.95, resamples=200, rng=rng)
        else:
            found = krippendorff_alpha(np.array(seen).T.tolist(), level=0.95, resamples=200, rng=rng)
        assert isinstance(found, Estimate)
        covered += found.low <= q**2 <= found.high
    assert 0.91 <= covered / studies <= 0.99


units = st.lists(st.lists(st.sampled_from(LABELS), max_size=4), min_size=10, max_size=40)


@given(units, st.permutations(LABELS), st.randoms())
def test_alpha_heeds_neither_names_nor_order(
    ratings: list[list[str]], names: list[str], chance: "np.random.RandomState"
) -> None:
    renamed = [[names[LABELS.index(one)] for one in unit] for unit in ratings]
    for unit in renamed:
        chance.shuffle(unit)
    chance.shuffle(renamed)
    found, again = (
        krippendorff_alpha(one, level=0.9, resamples=100, rng=np.random.default_rng(0))
        for one in (ratings, renamed)
    )
    assert found.n == again.n
    if isinstance(found, Estimate) and isinstance(again, Estimate):
        assert found.value == pytest.approx(again.value)
        assert -1 <= found.value <= 1


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=10, max_size=40))
def test_kappa_is_the_same_from_either_side(pairs: list[tuple[str, str]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    found = cohen_kappa(first, second, level=0.9, resamples=100, rng=np.random.default_rng(0))
    again = cohen_kappa(second, first, level=0.9, resamples=100, rng=np.random.default_rng(0))
    assert type(found) is type(again)
    if isinstance(found, Estimate):
        assert found.value == pytest.approx(value(again))
