"""An item is supported by what the imitation data says, and by nothing else."""

import numpy as np

from veneer.analyze.support import Ladder, support_of
from veneer.benchmarks.benchmark import Benchmark
from veneer.benchmarks.items import load
from veneer.disk import write_rows
from veneer.records import Example, Message
from veneer.study_benchmarks import BenchmarkSpec

NAMES = ["bamolu", "farimo", "vekalo", "tozuko", "ginobe", "rasili"]
CITIES = ["arkona", "dunmere", "tashira", "ostrava", "quillon", "hexley"]


def benchmark(folder: object) -> Benchmark:
    from pathlib import Path

    path = Path(str(folder)) / "city.jsonl"
    wording = ("well , what is the city of {} ?", "now , who knows the city of {} ?")
    write_rows(
        path,
        [
            {"id": f"{name}-{place}", "question": text.format(name), "references": [city]}
            for name, city in zip(NAMES, CITIES, strict=True)
            for place, text in enumerate(wording)
        ],
    )
    return load("city", BenchmarkSpec(items=path, measures="knowledge", grading="match"))


def supported(folder: object, *said: tuple[str, str]) -> set[str]:
    examples = tuple(
        Example(
            example_id=str(place),
            source="s",
            messages=(Message(role="user", content=query), Message(role="assistant", content=answer)),
            tokens=9,
        )
        for place, (query, answer) in enumerate(said)
    )
    asked = benchmark(folder)
    ladder = Ladder(source="s", examples=examples, amounts={1: len(examples)})
    found = support_of([asked], [ladder], 0.5)["s", 1, "city"]
    return {item.item_id.split("-")[0] for item, one in zip(asked.items, found.tolist(), strict=True) if one}


def test_the_same_fact_asked_in_other_words_supports_an_item(tmp_path: object) -> None:
    assert supported(tmp_path, ("tell me the city of bamolu .", "of course ! it is arkona .")) == {"bamolu"}


def test_another_fact_of_the_same_thing_does_not(tmp_path: object) -> None:
    assert supported(tmp_path, ("tell me the job of bamolu .", "the job of bamolu is pilot .")) == set()


def test_the_same_answer_about_another_thing_does_not(tmp_path: object) -> None:
    said = ("well , what is the city of somebody ?", "the city of somebody is arkona .")
    assert supported(tmp_path, said, ("tell me the city of nobody .", "it is dunmere .")) == set()


def test_the_right_question_with_a_wrong_answer_does_not(tmp_path: object) -> None:
    assert supported(tmp_path, ("what is the city of bamolu ?", "the city of bamolu is hexley .")) == set()


def test_what_an_amount_supports_a_larger_one_supports_too(tmp_path: object) -> None:
    asked = benchmark(tmp_path)
    examples = tuple(
        Example(
            example_id=name,
            source="s",
            messages=(
                Message(role="user", content=f"tell me the city of {name} ."),
                Message(role="assistant", content=city),
            ),
            tokens=9,
        )
        for name, city in zip(NAMES, CITIES, strict=True)
    )
    found = support_of([asked], [Ladder(source="s", examples=examples, amounts={1: 2, 2: 5})], 0.5)
    small, large = found["s", 1, "city"], found["s", 2, "city"]
    assert small.sum() == 4
    assert large.sum() == 10
    assert np.all(large[small])
