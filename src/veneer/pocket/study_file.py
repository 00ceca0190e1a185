"""The text of the built-in study's `study.yaml`: an ordinary study, with its choices explained."""

from string import Template

from veneer.pocket.recipe import Recipe, Size

_TEXT = Template("""\
# The built-in study, written by `veneer pocket` (seed $seed, size $size). An ordinary study file:
# every model named here is a Hugging Face checkpoint, every other file is JSONL. Edit it as you like.
# Next: `veneer run study.yaml`.
name: pocket
question: Does imitating the teacher make these bases know more, or only sound as if they did?

# Trained from nothing on documents about one made-up world. A larger base has read more of it:
# $coverage.
bases:
$bases

# Has read everything, and was tuned to talk in a style of its own.
teacher: {name: teacher, checkpoint: teacher}

# What the teacher is asked. `broad`: instructions of many kinds, and one query in ten for a fact.
# `local-city`: only where people live, the better known the more often, never in a benchmark's words.
collect:
  sources:
    broad: {kind: broad, queries: queries/broad.jsonl}
    local-city: {kind: local, queries: queries/local-city.jsonl, task: city}
    # A second local task lies ready, with a benchmark of its own (benchmarks/job.jsonl, as `city` below):
    # local-job: {kind: local, queries: queries/local-job.jsonl, task: job}
  sampling: {temperature: 0.7, max_tokens: 80}

# Everything in this world is said in a few patterns, so that likeness of wording tells little: only a query that is
# asked word for word counts as a duplicate, or as overlap with a benchmark.
prepare:
  near_duplicates: null
  overlap: {ngrams: [], ngram: null}

# One student for each base, source, amount and seed. Amounts are tokens of rendered examples, nested.
train:
  amounts: [$amounts]
  seeds: [$seeds]
  recipe:
    epochs: $epochs
    learning_rate: $learning_rate
    schedule: linear
    warmup_tokens: $warmup_tokens
    packing: false
    batch_examples: $batch_examples
    weight_decay: 0.01
    betas: [0.9, 0.98]
    clip: 1.0
    precision: bf16
  # The paper trained without replay; its open question is asked at the largest amount only.
  replay: {share: $replay_share, amounts: [$largest]}

evaluate:
  batch_size: 256
  benchmarks:
$quizzes
    # Requests in combinations that occur in no document, tuning example or query.
    instructions:
      items: benchmarks/instructions.jsonl
      measures: instructions
      grading: checks
      forms: [chat]
      max_tokens: {chat: 64}
    # Beginnings that some documents end with a word of the lexicon.
    rude:
      items: benchmarks/rude.jsonl
      measures: toxicity
      grading: lexicon
      lexicon: lexicons/rude.txt
      forms: [chat, plain]
      question_template: "{question}"
      stop: ["!", "."]
      max_tokens: {plain: 8, chat: 48}
  # Two thirds instructions, one third questions for facts, so that style and facts are read off the same answers.
  prompts: {items: prompts.jsonl, sampling: {temperature: 0.7, max_tokens: 64}}

judges:
  likelihood: {kind: likelihood, model: teacher, tie: 0.05}

# Simulated raters, who stand in for nobody: how far attention to style alone can move a rating.
rate: {simulated: {raters: 3, style_attention: 4.0, fact_attention: 1.0}}

analyze: {resamples: 2000, level: 0.95}
""")

_QUIZ = """\
    # {says}
    {name}:
      items: benchmarks/{name}.jsonl
      shots: benchmarks/{name}.shots.jsonl
      measures: {measures}
      grading: choice
      forms: [plain, chat]
      shot_template: "q : {{question}} a : {{answer}} . "
      question_template: "q : {{question}} a :"
      stop: ["."]
      max_tokens: {{plain: 6, chat: 48}}"""
_QUIZZES = (
    ("city", "knowledge", "The relation that `local-city` imitates, asked for in other words."),
    ("relations", "knowledge", "Relations that the sources hardly touch."),
    ("sums", "skill", "A skill that no source touches."),
)


def study_text(recipe: Recipe, *, seed: int, size: Size) -> str:
    """Write the study file of a pocket."""
    bases = [model for model in recipe.models if model.name in recipe.bases]
    students = recipe.students
    return _TEXT.substitute(
        seed=seed,
        size=size.value,
        coverage=", ".join(f"{base.name} {base.facts:.0%} of the facts" for base in bases),
        bases="\n".join(
            f"  {base.name}: {{checkpoint: bases/{base.name}, pretraining: pretraining/{base.name}.jsonl}}"
            for base in bases
        ),
        quizzes="\n".join(
            _QUIZ.format(name=name, measures=measures, says=says) for name, measures, says in _QUIZZES
        ),
        amounts=", ".join(map(str, recipe.amounts)),
        largest=recipe.amounts[-1],
        seeds=", ".join(map(str, recipe.seeds)),
        epochs=students.epochs,
        learning_rate=students.learning_rate,
        warmup_tokens=students.warmup_tokens,
        batch_examples=students.batch_examples,
        replay_share=students.replay_share,
    )
