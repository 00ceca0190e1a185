"""Training from nothing: checkpoints are ordinary, depend on the seed alone, and learn what they read."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from veneer.pocket import pretrain
from veneer.pocket.recipe import RECIPES, Size
from veneer.pocket.world import make_world

TINY = RECIPES[Size.TINY]


@pytest.fixture(scope="module", name="checkpoint")
def _checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    pretrain.train("teacher", folder, seed=0, size=Size.TINY)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    pretrain.train("teacher", tmp_path / "again", seed=0, size=Size.TINY)
    assert files(tmp_path / "again") == files(checkpoint)


def test_another_seed_gives_other_weights(checkpoint: Path, tmp_path: Path) -> None:
    pretrain.train("teacher", tmp_path / "other", seed=1, size=Size.TINY)
    assert files(tmp_path / "other")["model.safetensors"] != files(checkpoint)["model.safetensors"]


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    pretrain.train("small", tmp_path, seed=0, size=Size.TINY)
    assert torch.equal(before, torch.random.get_rng_state())


def test_plain_transformers_loads_a_checkpoint_and_it_answers(checkpoint: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello , tell me the city of nobody ."}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert rendered == "<user> hello , tell me the city of nobody . <asst>"
    inputs = tokenizer(rendered, return_tensors="pt")
    written = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=5
    )
    assert written.shape[1] > inputs["input_ids"].shape[1]


def test_the_tokenizer_gives_back_what_it_took_and_its_end_is_not_its_padding() -> None:
    tokenizer = pretrain.make_tokenizer(make_world(TINY, seed=0))
    said = "<user> how much is 2 plus 3 ? <asst> the answer is 5 . <eos>"
    assert tokenizer.decode(tokenizer.encode(said)) == said
    assert len(tokenizer.encode(said)) == len(said.split())
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    chat = [
        {"role": "user", "content": "how much is 2 plus 3 ?"},
        {"role": "assistant", "content": "the answer is 5 ."},
    ]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == said


def test_only_replies_and_their_end_are_learned_in_chat() -> None:
    tokenizer = pretrain.make_tokenizer(make_world(TINY, seed=0))
    inputs, labels = pretrain.chat_batch(
        [("how much is 2 plus 3 ?", "the answer is 5 ."), ("hello ,", "no idea .")], tokenizer
    )
    learned = [row[row != pretrain.UNLEARNED].tolist() for row in labels]
    assert [tokenizer.decode(ids) for ids in learned] == [
        "the answer is 5 . <eos>",
        "no idea . <eos>",
    ]
    assert inputs.shape == labels.shape


def test_a_step_lowers_the_loss_on_its_own_batch() -> None:
    tokenizer = pretrain.make_tokenizer(make_world(TINY, seed=0))
    model = pretrain.make_model(TINY.model("small"), tokenizer, seed=0)
    optimizer = pretrain.make_optimizer(model)
    batch = torch.tensor([tokenizer.encode("the river is calm . the river is calm .")])

    def loss() -> float:
        with torch.inference_mode():
            return float(model(input_ids=batch, labels=batch).loss)

    first = loss()
    for _ in range(5):
        pretrain.update(model, optimizer, batch, batch, 1e-2)
    assert loss() < first
