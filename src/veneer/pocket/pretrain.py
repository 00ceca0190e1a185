"""Trains the built-in study's bases and its teacher from nothing and saves them as checkpoints."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from veneer.pocket.documents import (
    ASSISTANT,
    USER,
    Library,
    house_example,
    vocabulary_phrases,
)
from veneer.pocket.exam import Lesson, chat_recall, encode, recall, shares
from veneer.pocket.recipe import RECIPES, TEACHER, ModelRecipe, Size
from veneer.pocket.world import (
    World,
    fixed_words,
    make_world,
)

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user> {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}<asst> {{ message['content'] }} <eos>"
    "{% if not loop.last %} {% endif %}"
    "{% else %}{{ raise_exception('this model knows users and assistants only') }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<asst>{% endif %}"
)
"""`<user> question <asst> answer <eos>`."""
UNLEARNED = -100
"""Label of tokens that take no part in the loss."""
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What changes while a model is pretrained, beside its weights."""

    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    """Draws crops."""
    rng: random.Random
    """Draws questions."""


def train(name: str, folder: Path, *, seed: int, size: Size) -> str:
    """Train one model of the built-in study and save it.

    Args:
        name: One of the recipe's models.
        folder: Where the checkpoint goes.
        seed: Of the world and of this training.
        size: Which recipe.

    Returns:
        One line on what was trained and what it knows.
    """
    torch.set_num_threads(1)
    recipe = RECIPES[size]
    own = recipe.model(name)
    world = make_world(recipe, seed=seed)
    tokenizer = make_tokenizer(world)
    library = Library(world, facts=own.facts, sums=own.sums)
    lesson = Lesson(
        world=world,
        recipe=recipe,
        own=own,
        library=library,
        text=corpus(library, tokenizer, recipe.corpus_tokens, seed=seed),
        tokenizer=tokenizer,
    )
    model = make_model(own, tokenizer, seed=seed * 10 + recipe.models.index(own))
    said = pretrain(model, lesson, seed=seed)
    if name == TEACHER:
        said += "; " + tune(model, lesson, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"{name}: {said}"


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Make the one-word-one-token tokenizer that all models of a world share."""
    words = [word for phrase in vocabulary_phrases() for word in phrase.split() if "{" not in word]
    words += [*fixed_words(), *world.entities]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=256,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(own: ModelRecipe, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """Make an untrained model whose weights depend on the seed alone."""
    config = LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 32) * 32,
        hidden_size=own.width,
        intermediate_size=3 * own.width,
        num_hidden_layers=2,
        num_attention_heads=own.heads,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
        initializer_range=0.06,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=80,
    )
    return model


def corpus(library: Library, tokenizer: PreTrainedTokenizerFast, length: int, *, seed: int) -> torch.Tensor:
    """Write at least this many tokens of documents, each ended by `<eos>`."""
    ids: list[int] = []
    for document in library.documents(seed=seed):
        ids += encode(tokenizer, f"{document} {EOS}")
        if len(ids) >= length:
            break
    return torch.tensor(ids)


def pretrain(model: LlamaForCausalLM, lesson: Lesson, *, seed: int) -> str:
    """Train on documents until the model knows what they hold.

    It begins with documents on few people. Then the learning rate stays at its peak until a sample
    of all facts is recalled, and falls; where it then knows too little, it falls again from a lower
    peak.
    """
    recipe, peak = lesson.recipe, lesson.own.learning_rate
    reading = Reading(
        optimizer=make_optimizer(model),
        generator=torch.Generator().manual_seed(seed),
        rng=random.Random(f"recall {seed}"),
    )
    few = Library(lesson.world, facts=lesson.own.facts, sums=lesson.own.sums, people=recipe.first_people)
    first = replace(lesson, library=few, text=corpus(few, lesson.tokenizer, recipe.first_tokens, seed=seed))
    # The teacher learns to stay on a topic when it is tuned for chat; waiting for it here would cost minutes.
    topics = {} if lesson.own.name == TEACHER else {"topics": recipe.hit}
    steps = climb(model, first, reading, 0, {"facts": recipe.first_hit, **topics})
    steps = climb(model, lesson, reading, steps, {"facts": recipe.hit, **topics})
    known = {"": 0.0}
    for decay in range(recipe.extra_decays + 1):
        paces = [1 - step / recipe.decay_steps for step in range(recipe.decay_steps)]
        rates = [peak * 0.7**decay * max(recipe.floor, pace) for pace in paces]
        read(model, lesson, reading, rates)
        steps += recipe.decay_steps
        known = recall(model, lesson, reading.rng)
        if min(known[name] for name in ("facts", "sums", *topics)) >= recipe.mastery:
            break
    return f"{steps} steps, knows {shares(known)}"


def climb(
    model: LlamaForCausalLM,
    lesson: Lesson,
    reading: Reading,
    steps: int,
    goal: Mapping[str, float],
) -> int:
    """Train at the peak rate until the goal is reached; return all steps taken so far."""
    recipe, peak = lesson.recipe, lesson.own.learning_rate
    while steps < recipe.step_limit:
        ahead = range(steps + 1, steps + recipe.check_steps + 1)
        read(model, lesson, reading, [peak * min(1, step / recipe.warmup_steps) for step in ahead])
        steps += recipe.check_steps
        known = recall(model, lesson, reading.rng, sample=120)
        if all(known[name] >= share for name, share in goal.items()):
            break
    return steps


def read(model: LlamaForCausalLM, lesson: Lesson, reading: Reading, rates: Sequence[float]) -> None:
    """Take one step on random crops of the documents for each learning rate."""
    recipe = lesson.recipe
    reach = torch.arange(recipe.crop_tokens)
    for rate in rates:
        starts = torch.randint(
            len(lesson.text) - recipe.crop_tokens, (recipe.crops, 1), generator=reading.generator
        )
        crops = lesson.text[starts + reach]
        update(model, reading.optimizer, crops, crops, rate)


def tune(model: LlamaForCausalLM, lesson: Lesson, *, seed: int) -> str:
    """Teach the house style in rounds, among plain documents so that nothing is forgotten."""
    recipe, rng = lesson.recipe, random.Random(f"tuning {seed}")
    generator = torch.Generator().manual_seed(seed + 1)
    fewest, most = recipe.tuning_rounds
    plain = round(recipe.tuning_batch * recipe.tuning_documents)
    known = {"": 0.0}
    rounds = 0
    while rounds < most:
        examples = [house_example(lesson.world, rng) for _ in range(recipe.tuning_examples)]
        optimizer = make_optimizer(model)
        batches = [
            examples[start : start + recipe.tuning_batch - plain]
            for start in range(0, len(examples), recipe.tuning_batch - plain)
        ]
        for step, batch in enumerate(batches):
            inputs, labels = chat_batch(batch, lesson.tokenizer)
            starts = torch.randint(len(lesson.text) - inputs.shape[1], (plain, 1), generator=generator)
            documents = lesson.text[starts + torch.arange(inputs.shape[1])]
            pace = min((step + 1) / 10, max(0.05, 1 - step / len(batches)))
            update(
                model,
                optimizer,
                torch.cat((inputs, documents)),
                torch.cat((labels, documents)),
                recipe.tuning_rate * pace,
            )
        rounds += 1
        known = recall(model, lesson, rng) | chat_recall(model, lesson)
        taught = min(share for name, share in known.items() if name != "follow") >= recipe.mastery
        if rounds >= fewest and taught and known["follow"] >= recipe.follow:
            break
    return f"{rounds} rounds of chat, knows {shares(known)}"


def chat_batch(
    examples: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad examples to a batch of inputs and labels; only replies and their ends are learned."""
    asked = [encode(tokenizer, f"{USER} {query} {ASSISTANT}") for query, _ in examples]
    replied = [encode(tokenizer, f"{reply} {EOS}") for _, reply in examples]
    longest = max(len(query) + len(reply) for query, reply in zip(asked, replied, strict=True))
    inputs = torch.full((len(examples), longest), int(tokenizer.pad_token_id))
    labels = torch.full_like(inputs, UNLEARNED)
    for row, (query, reply) in enumerate(zip(asked, replied, strict=True)):
        end = len(query) + len(reply)
        inputs[row, :end] = torch.tensor(query + reply)
        labels[row, len(query) : end] = torch.tensor(reply)
    return inputs, labels


def make_optimizer(model: LlamaForCausalLM) -> torch.optim.Optimizer:
    """Make a fresh AdamW over all weights."""
    return torch.optim.AdamW(model.parameters(), betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)


def update(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    rate: float,
) -> None:
    """Take one step down the next-token loss."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        learned = targets != UNLEARNED
        logits = model.lm_head(hidden[learned])
    functional.cross_entropy(logits.float(), targets[learned]).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
