import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tests.models.tiny import WORDS, checkpoint, tokenizer
from veneer.errors import ModelError
from veneer.models.encode import IGNORED, Encoded, encode
from veneer.records import Message
from veneer.train.fitting import STEPS, fits, shortest

pytestmark = pytest.mark.usefixtures("one_thread")

Step = Callable[[Sequence[Encoded]], float]


def rows(count: int) -> list[Encoded]:
    made = []
    for number in range(count):
        talk = (
            Message(role="user", content=f"w{number % 40} ?"),
            Message(role="assistant", content=f"w{(number + 3) % 40} w{(number + 7) % 40} ."),
        )
        made.append(encode(tokenizer(), talk, 64))
    return made


def model_of(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(checkpoint(folder / "model"), dtype=torch.float32)


def stepping(model: Any, rate: float) -> Step:
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=rate)

    def step(batch: Sequence[Encoded]) -> float:
        longest = max(len(row.input_ids) for row in batch)
        inputs = torch.tensor([[*row.input_ids, *[0] * (longest - len(row.input_ids))] for row in batch])
        labels = torch.tensor([[*row.labels, *[IGNORED] * (longest - len(row.labels))] for row in batch])
        logits = model(input_ids=inputs).logits[:, :-1]
        loss = functional.cross_entropy(
            logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def told(losses: Sequence[float]) -> Step:
    """Return a step that only says losses; the last one for ever."""
    said: Iterator[float] = iter([*losses[:-1], *[losses[-1]] * STEPS])
    return lambda batch: next(said)


@pytest.fixture
def any_model() -> Any:
    config = GPT2Config(vocab_size=len(WORDS), n_embd=4, n_layer=1, n_head=1, n_positions=8)
    return GPT2LMHeadModel(config)


def test_a_sound_model_fits_eight_examples(tmp_path: Path) -> None:
    model = model_of(tmp_path).eval()
    finding = fits(model, rows(20), stepping(model, 1e-2))
    assert (finding.check, finding.passed, finding.fatal) == ("eight examples can be fitted", True, False)
    assert finding.message == ""
    assert model.training


def test_it_stops_as_soon_as_the_loss_has_fallen_by_a_fifth(any_model: Any) -> None:
    asked: list[int] = []
    losses = iter([4.0, 3.9, 3.3, 3.2, 1.0])

    def step(batch: Sequence[Encoded]) -> float:
        asked.append(len(batch))
        return next(losses)

    assert fits(any_model, rows(20), step).passed
    assert asked == [8, 8, 8, 8]


def test_examples_that_the_model_knows_by_heart_pass_at_once(any_model: Any) -> None:
    assert fits(any_model, rows(8), told([0.01])).passed


def test_fewer_than_eight_rows_are_fitted_as_they_are(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    assert fits(model, rows(1), stepping(model, 1e-2)).passed


def test_the_shortest_eight_of_the_first_sixty_four_are_taken() -> None:
    long = [Encoded(input_ids=(1,) * 9, labels=(1,) * 9) for _ in range(60)]
    short = [Encoded(input_ids=(number,) * 3, labels=(number,) * 3) for number in range(6)]
    late = [Encoded(input_ids=(2,), labels=(2,))]
    assert shortest([*long, *short[:4], *short[4:], *late]) == [*long[:4], *short[:4]]
    assert shortest(short) == short


def failure(finding: Any) -> str:
    assert (finding.check, finding.passed, finding.fatal) == ("eight examples can be fitted", False, True)
    return str(finding.message)


def test_no_rows_at_all_are_said(any_model: Any) -> None:
    assert failure(fits(any_model, [], told([1.0]))).startswith("there is no row to fit. Give more examples")


def test_labels_without_a_learned_token_are_found_before_a_step_is_taken(any_model: Any) -> None:
    # A first token has nothing before it: a label there is no learned token either.
    masked = [Encoded(input_ids=(4, 7, 1), labels=(4, IGNORED, IGNORED))] * 9
    message = failure(fits(any_model, masked, told([1.0])))
    assert message.startswith(
        "the labels of all 8 rows looked at hold no learned token. See that the last turn"
    )
    assert "the labels of the only row hold" in failure(fits(any_model, masked[:1], told([1.0])))


def test_a_model_without_a_trainable_weight_is_found_before_a_step_is_taken(any_model: Any) -> None:
    any_model.requires_grad_(False)
    message = failure(fits(any_model, rows(8), told([1.0])))
    assert message.startswith("no weight of the model is trainable. See that its weights require gradients")


@pytest.mark.parametrize("first", [math.nan, math.inf])
def test_a_loss_that_is_no_number_from_the_start_is_the_base_s_fault(any_model: Any, first: float) -> None:
    message = failure(fits(any_model, rows(8), told([first])))
    assert f"is {first} before any step" in message
    assert "set train.recipe.precision to fp32" in message


def test_a_model_of_no_numbers_cannot_be_fitted(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    torch.nn.init.constant_(model.lm_head.weight, math.nan)
    assert "is nan before any step" in failure(fits(model, rows(8), stepping(model, 1e-2)))


def test_a_learning_rate_that_leaves_the_numbers_is_to_be_lowered(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    message = failure(fits(model, rows(8), stepping(model, 1e30)))
    assert " to nan within 3 steps. Lower train.recipe.learning_rate" in message


def test_a_learning_rate_that_only_shakes_the_model_is_to_be_lowered(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    message = failure(fits(model, rows(8), stepping(model, 10.0)))
    assert "it does not fall. Lower train.recipe.learning_rate." in message


def test_a_flat_loss_tells_where_to_look(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    message = failure(fits(model, rows(8), stepping(model, 0.0)))
    trainable = f"{sum(weight.numel() for weight in model.parameters()):,}"
    assert f"the mean loss of 8 examples ({trainable} trainable weights) went from" in message
    assert (
        "in 64 steps at the highest learning rate: it does not move. See that the optimizer holds" in message
    )
    assert "kept in 32 bits" in message


def test_weights_that_the_optimizer_does_not_hold_are_found(tmp_path: Path) -> None:
    model, another = model_of(tmp_path), model_of(tmp_path / "another")
    stale = stepping(another, 1e-2)
    del another

    def step(batch: Sequence[Encoded]) -> float:
        stale(batch)
        return stepping(model, 0.0)(batch)

    assert "See that the optimizer holds the trainable weights" in failure(fits(model, rows(8), step))


def test_a_network_that_dies_from_worse_than_knowing_nothing_has_not_fitted(any_model: Any) -> None:
    uniform = math.log(len(WORDS))
    message = failure(fits(any_model, rows(8), told([uniform + 2, uniform])))
    assert f"{0.8 * uniform:.4g} was wanted" in message


def test_weights_in_sixteen_bits_that_swallow_every_update_are_found(tmp_path: Path) -> None:
    model = model_of(tmp_path).to(torch.bfloat16)
    message = failure(fits(model, rows(8), stepping(model, 1e-6)))
    assert "trainable weights) went from" in message
    assert "train.recipe.learning_rate" in message


def test_a_learning_rate_too_low_to_fit_anything_is_to_be_raised(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    message = failure(fits(model, rows(8), stepping(model, 1e-5)))
    assert "was wanted. If it falls steadily, raise train.recipe.learning_rate" in message


def test_one_example_is_not_called_examples(any_model: Any) -> None:
    assert "the mean loss of 1 example (" in failure(fits(any_model, rows(1), told([2.0])))


def test_a_step_that_refuses_is_a_finding(any_model: Any) -> None:
    def step(batch: Sequence[Encoded]) -> float:
        raise ModelError("the loss is nan. Lower train.recipe.learning_rate.")

    message = failure(fits(any_model, rows(8), step))
    assert message == "at step 1: the loss is nan. Lower train.recipe.learning_rate."
