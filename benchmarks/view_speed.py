"""How fast `veneer view` is: contestants and items as many as asked for are made up, indexed, and looked at over HTTP.

    python benchmarks/view_speed.py                 # 30 contestants x 20,000 items; takes 1.5 GB for a while
    python benchmarks/view_speed.py --items 2000

Pages of every kind are asked for, one after another, from a server of its own thread: the overview; lists by filter, by
outcome, by search for rare and for the commonest words, the first and the last page, few and all contestants shown;
single items as written, formatted, and student against teacher. Words follow Zipf's law. Of each kind the script prints
the median and the slowest, as waited for and in processor time (server and client together): on a machine that others
use, the two are far apart. The last line is JSON: `pages`, `p50_ms`, `p99_ms`, `slowest_ms`, `slowest_cpu_ms`,
`index_seconds`.
"""

import argparse
import json
import random
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import uvicorn

from veneer import disk
from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.records import Completion, Contestant, Grade, Outcome, Role, Stop, to_row
from veneer.report import view, view_book, view_index
from veneer.report.view_state import PATTERNS

BENCHMARKS = ("facts", "reasons")
WORDS, SENTENCES, SENTENCE = 40_000, 20_000, 14
OUTCOMES = (Outcome.CORRECT, Outcome.WRONG, Outcome.WRONG, Outcome.UNPARSED)


def main() -> None:
    """Make, index, ask and tell."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--contestants", type=int, default=30)
    options.add_argument("--items", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=8, help="pages of each kind")
    given = options.parse_args()
    rng = random.Random(0)  # noqa: S311 (nothing is kept secret with it)
    with tempfile.TemporaryDirectory() as folder:
        sources = made_up(Path(folder), given.contestants, given.items, rng)
        began = time.perf_counter()
        path = view_index.make(Path(folder) / "view", sources, lambda done, total: None)
        seconds = time.perf_counter() - began
        size = path.stat().st_size / 1e6
        print(
            f"index: {seconds:.1f} s, {size:.0f} MB, {given.items * given.contestants:,} completions",
            flush=True,
        )
        book = view_book.open_book(path, sources.answered, sources.graded)
        with served(book) as address:
            times = [
                (elapsed(address + asked), kind, asked)
                for _ in range(given.rounds)
                for kind, asked in pages(book, given.items, rng)
            ]
    for kind in dict.fromkeys(kind for _, kind, _ in times):
        waited, worked = np.array([one for one, its, _ in times if its == kind]).T
        print(
            f"{kind:45} {np.median(waited):7.1f} ms, at most {waited.max():7.1f}; "
            f"processor {np.median(worked):7.1f}, at most {worked.max():7.1f}"
        )
    waited, worked = np.array([one for one, _, _ in times]).T
    slowest = max(times)
    print(f"slowest: {slowest[0][0]:.1f} ms: {slowest[2][:200]}")
    found = {
        "pages": len(times),
        "p50_ms": float(np.median(waited)),
        "p99_ms": float(np.percentile(waited, 99)),
        "slowest_ms": float(waited.max()),
        "slowest_cpu_ms": float(worked.max()),
        "index_seconds": seconds,
    }
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


def made_up(folder: Path, contestants: int, items: int, rng: random.Random) -> view_index.Sources:
    """Return artefacts of a study that never was: a base, a teacher and students, on two benchmarks."""
    sentences = _sentences()
    halves = {name: items // 2 + (items % 2) * (not place) for place, name in enumerate(BENCHMARKS)}
    benchmarks = [_benchmark(name, many, sentences, rng) for name, many in halves.items()]
    who = [_contestant(place, contestants) for place in range(contestants)]
    answered, graded = {}, {}
    for one in who:
        answered[one.name], graded[one.name] = folder / "answer" / one.name, folder / "grade" / one.name
        rows = [
            (benchmark.name, item, " ".join(rng.choices(sentences, k=rng.randrange(2, 13))))
            for benchmark in benchmarks
            for item in benchmark.items
        ]
        disk.write_rows(
            answered[one.name] / "completions.jsonl", (_completion(one.name, *row) for row in rows)
        )
        disk.write_rows(
            graded[one.name] / "grades.jsonl",
            (_grade(one.name, name, item, text, rng) for name, item, text in rows),
        )
    places = [(benchmark.name, item.item_id) for benchmark in benchmarks for item in benchmark.items]
    supported = {one.name: {place: rng.random() < 0.3 for place in places} for one in who[1:-1]}
    return view_index.Sources(
        key="0" * 64,
        said={"name": "made up", "question": "How fast is it?"},
        contestants=who,
        answered=answered,
        graded=graded,
        compared={},
        benchmarks=benchmarks,
        weigh=lambda: view_index.Weighed(supported=supported),
        report=None,
    )


def _sentences() -> list[str]:
    draws = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = [
        "the",
        "of",
        "and",
        *("".join(draws.choice(letters, draws.integers(3, 11))) for _ in range(WORDS)),
    ]
    weights = 1 / np.arange(1, len(words) + 1)
    picked = draws.choice(len(words), (SENTENCES, SENTENCE), p=weights / weights.sum())
    return [" ".join(words[place] for place in row).capitalize() + "." for row in picked]


def _benchmark(name: str, many: int, sentences: list[str], rng: random.Random) -> Benchmark:
    items = tuple(
        Item(
            item_id=f"{name}-{n}",
            question=rng.choice(sentences)[:-1] + "?",
            references=("the",),
            cluster=str(n),
        )
        for n in range(many)
    )
    return Benchmark(
        name=name, items=items, measures="knowledge", grading="match", forms=("chat",), stop={}, max_tokens={},
        temperature=0.0, chance=None, source="",
    )  # fmt: skip


def _contestant(place: int, many: int) -> Contestant:
    role = {0: Role.BASE, many - 1: Role.TEACHER}.get(place, Role.STUDENT)
    name = str(role) if role is not Role.STUDENT else f"student-{place:02}"
    return Contestant(
        name=name, role=role, student=name, base="" if role is Role.TEACHER else "base", source="", amount=0, seed=0,
        replay=0.0,
    )  # fmt: skip


def _completion(who: str, benchmark: str, item: Item, text: str) -> disk.Row:
    completion = Completion(
        prompt_id=item.item_id, sample=0, model=who, rendered=f"<user>{item.question}<assistant>", text=text,
        stop=Stop.END, detail="", tokens_in=20, tokens_out=len(text) // 5,
    )  # fmt: skip
    row: disk.Row = {"benchmark": benchmark, "form": "chat", "reference_loglikelihood": None, "choices": []}
    return {**row, "completion": to_row(completion)}


def _grade(who: str, benchmark: str, item: Item, text: str, rng: random.Random) -> disk.Row:
    outcome = rng.choice(OUTCOMES)
    return to_row(
        Grade(
            contestant=who, benchmark=benchmark, form="chat", prompt_id=item.item_id, cluster=item.cluster, sample=0,
            strict=outcome, lenient=outcome, answer=text[:60], reference_loglikelihood=None,
        )
    )  # fmt: skip


def pages(book: view_book.Book, items: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield a page of every kind, and its address."""
    student = rng.choice(book.students)
    everybody = list(book.contestants)
    benchmark = rng.choice(BENCHMARKS)
    item = f"{benchmark}/chat/{benchmark}-{rng.randrange(items // 2)}"
    rare = _rare(book, rng, student, item)
    lists: dict[str, dict[str, Any]] = {
        "list, all items, first page": {},
        "list, all items, last page": {"page": -(-items // view.ROWS)},
        "list, a benchmark and no support": {"benchmark": benchmark, "support": "no"},
        "list, all contestants shown": {"show": everybody},
        "search, a rare word": {"q": rare},
        "search, the commonest word": {"q": "the"},
        "search, the commonest words, all shown": {"q": "the of and", "show": everybody},
        "search, common words in a row": {"q": '"of the"'},
        "search, common words in a row, all shown": {"q": '"of the"', "show": everybody},
        "search, a beginning, all shown": {"q": f"{rare[:3]}*", "show": everybody},
        "search and outcome": {"q": "the and", "pattern": "fluent", "support": "yes"},
    }
    lists |= {f"list, {words}": {"pattern": name} for name, words in PATTERNS.items() if name}
    yield "overview", f"?{urlencode({'student': student})}"
    for kind, asked in lists.items():
        yield kind, f"items?{urlencode({'student': student, **asked}, doseq=True)}"
    own = {"student": student, "at": item}
    items_read: dict[str, dict[str, Any]] = {
        "item, as written": {},
        "item, formatted": {"read": "formatted"},
        "item, student against teacher": {"read": "compared"},
        "item, all contestants shown": {"show": everybody},
        "item, all contestants, formatted": {"show": everybody, "read": "formatted"},
        "item, within a search for common words": {"q": "the of"},
    }
    for kind, more in items_read.items():
        yield kind, f"item?{urlencode({**own, **more}, doseq=True)}"


def _rare(book: view_book.Book, rng: random.Random, student: str, item: str) -> str:
    benchmark, form, name = item.split("/")
    one = book.writing(student, book.at((benchmark, form, name)), 0)
    assert one.completion
    return rng.choice([word for word in one.completion.text.lower().split() if len(word) > 6] or ["nothing"])


@contextmanager
def served(book: view_book.Book) -> Iterator[str]:
    """Serve the pages in a thread, and give their address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        site = view.app(book, None, ["127.0.0.1"])
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


def elapsed(address: str) -> tuple[float, float]:
    """Return how many milliseconds pass until a page is read whole, and how many of them this process works."""
    began, worked = time.perf_counter(), time.process_time()
    with urlopen(address) as answer:  # noqa: S310 (our own server)
        answer.read()
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - worked)


if __name__ == "__main__":
    main()
