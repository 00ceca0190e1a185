"""Amounts nest: each is a prefix of the next, and holds what was asked for, to one example."""

from hypothesis import given
from hypothesis import strategies as st

from veneer.amounts import parted, prefixes, take
from veneer.records import Example

TOKENS = st.lists(st.integers(1, 50), max_size=40)
AMOUNTS = st.lists(st.integers(1, 300), max_size=5, unique=True).map(sorted)


@given(TOKENS, AMOUNTS)
def test_amounts_are_nested_and_within_one_example_of_their_target(
    tokens: list[int], amounts: list[int]
) -> None:
    found = prefixes(tokens, amounts)
    if found is None:
        assert sum(tokens) < amounts[-1]
        return
    assert [prefix.examples for prefix in found] == sorted(prefix.examples for prefix in found)
    for prefix in found:
        assert prefix.tokens == sum(tokens[: prefix.examples])
        assert prefix.amount <= prefix.tokens < prefix.amount + tokens[prefix.examples - 1]


@given(TOKENS, AMOUNTS)
def test_what_is_taken_is_what_is_counted(tokens: list[int], amounts: list[int]) -> None:
    examples = of_lengths(tokens)
    for prefix in prefixes(tokens, amounts) or []:
        assert list(take(examples, prefix.amount)) == examples[: prefix.examples]


@given(TOKENS, AMOUNTS)
def test_each_example_is_parted_into_the_smallest_amount_that_takes_it(
    tokens: list[int], amounts: list[int]
) -> None:
    examples = of_lengths(tokens)
    places = [place for place, _ in parted(examples, amounts)]
    for number, amount in enumerate(amounts):
        assert sum(place <= number for place in places) == len(list(take(examples, amount)))


def of_lengths(tokens: list[int]) -> list[Example]:
    return [
        Example(example_id=str(place), source="s", messages=(), tokens=count)
        for place, count in enumerate(tokens)
    ]
