"""Asks a model in training what it knows: of its documents, and in chat."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from veneer.pocket.documents import ASSISTANT, USER, Library, statement
from veneer.pocket.recipe import ModelRecipe, Recipe
from veneer.pocket.world import BENCHMARK_CORES, DEEDS, LISTED_KINDS, TOPICS, Fact, World, ask_fact, ask_sum


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one model is to learn, and in which recipe."""

    world: World
    recipe: Recipe
    own: ModelRecipe
    library: Library
    text: torch.Tensor
    """Tokens of its documents."""
    tokenizer: PreTrainedTokenizerFast


@dataclass(frozen=True, kw_only=True)
class Question:
    """A text and the one word that has to come next."""

    text: str
    answer: str


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Turn text into token ids."""
    ids: list[int] = tokenizer.encode(text)
    return ids


def recall(
    model: LlamaForCausalLM, lesson: Lesson, rng: random.Random, *, sample: int | None = None
) -> dict[str, float]:
    """Measure which share of its documents' facts and sums a model completes in a quiz."""
    library = lesson.library
    facts = library.facts if sample is None else rng.sample(library.facts, min(sample, len(library.facts)))
    questions = [
        Question(
            text=f"{_quiz(library, rng)} q : {ask_fact(fact, opener='', core=core)} a :",
            answer=lesson.world.values[fact],
        )
        for fact in facts
        for core in [rng.choice(BENCHMARK_CORES)]
    ]
    sums = [
        Question(
            text=f"q : {ask_sum(shot)} a : {sum(shot)} . q : {ask_sum(pair)} a :",
            answer=str(sum(pair)),
        )
        for pair in library.sums
        for shot in [rng.choice(library.sums)]
    ]
    topics = [
        Question(text=f"about the {topic} : * people {deed} the", answer=topic)
        for topic in TOPICS
        for deed in DEEDS[:2]
    ]
    return {
        "facts": score(model, questions, lesson.tokenizer),
        "sums": score(model, sums, lesson.tokenizer),
        "topics": score(model, topics, lesson.tokenizer),
    }


def _quiz(library: Library, rng: random.Random) -> str:
    shot: Fact = rng.choice(library.facts)
    question = ask_fact(shot, opener="", core=rng.choice(BENCHMARK_CORES))
    return f"q : {question} a : {library.world.values[shot]} ."


def chat_recall(model: LlamaForCausalLM, lesson: Lesson) -> dict[str, float]:
    """Measure what the teacher knows when it is asked in chat, and which instructions it obeys."""
    world = lesson.world
    # Written out in full, since finding the right thing to say is part of knowing it.
    facts = list(world.values)[::3]
    said = generate(
        model,
        [f"{USER} {ask_fact(fact, opener='', core=BENCHMARK_CORES[0])} {ASSISTANT}" for fact in facts],
        lesson.tokenizer,
        length=14,
    )
    stated = [statement(world, fact) in reply for fact, reply in zip(facts, said, strict=True)]
    sums = list(world.sum_ranks)
    counted = generate(
        model, [f"{USER} {ask_sum(pair)} {ASSISTANT}" for pair in sums], lesson.tokenizer, length=14
    )
    summed = [f"the answer is {sum(pair)} ." in reply for pair, reply in zip(sums, counted, strict=True)]
    asked = [instruction for kind in world.held_out.values() for instruction in kind[:5]]
    replies = generate(
        model, [f"{USER} {one.text} {ASSISTANT}" for one in asked], lesson.tokenizer, length=60
    )
    obeyed = [
        set(one.words) <= set(reply.split()) and (one.kind not in LISTED_KINDS or reply.count("*") >= 2)
        for one, reply in zip(asked, replies, strict=True)
    ]
    return {
        "chat facts": sum(stated) / len(stated),
        "chat sums": sum(summed) / len(summed),
        "follow": sum(obeyed) / len(obeyed),
    }


@torch.inference_mode()
def score(
    model: LlamaForCausalLM, questions: Sequence[Question], tokenizer: PreTrainedTokenizerFast
) -> float:
    """Return the share of questions whose answer is the likeliest next word."""
    model.eval()
    right = 0
    for batch in _batches(questions, 128):
        texts = [encode(tokenizer, question.text) for question in batch]
        inputs = torch.full((len(texts), max(map(len, texts))), int(tokenizer.pad_token_id))
        for row, ids in enumerate(texts):
            inputs[row, : len(ids)] = torch.tensor(ids)
        ends = torch.tensor([len(ids) - 1 for ids in texts])
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
        found = model.lm_head(hidden[torch.arange(len(texts)), ends]).argmax(-1)
        answers = tokenizer.convert_tokens_to_ids([question.answer for question in batch])
        right += int((found == torch.tensor(answers)).sum())
    return right / len(questions)


@torch.inference_mode()
def generate(
    model: LlamaForCausalLM,
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    *,
    length: int,
) -> list[str]:
    """Complete prompts greedily."""
    model.eval()
    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True)
    ids = model.generate(
        input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, max_new_tokens=length
    )
    replies: list[str] = tokenizer.batch_decode(ids[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return replies


def _batches(questions: Sequence[Question], count: int) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), count):
        yield questions[start : start + count]


def shares(known: Mapping[str, float]) -> str:
    """Write shares for people."""
    return ", ".join(f"{name} {share:.2f}" for name, share in known.items())
