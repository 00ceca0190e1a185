"""Decoding by vLLM, with a stand-in for it: the same tokens are asked and the same ends found."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.models.tiny import checkpoint
from veneer.errors import ModelError
from veneer.models import engine, local
from veneer.models.model import ModelRef, Sampling
from veneer.records import Completion, Prompt


class StandIn:
    """Writes what transformers would, and past every end, as an engine with other ends might."""

    def __init__(self, model: str, **_: Any) -> None:
        self.plain = local.load(ModelRef(name="plain", kind="checkpoint", path=Path(model), digest="-"))

        self.parts: list[int] = []

    def generate(self, asked: Any, settings: Any, use_tqdm: bool) -> Iterator[Any]:
        import torch

        self.parts.append(len(asked))
        for one, how in zip(asked, settings, strict=True):
            ids = torch.tensor([one["prompt_token_ids"]])
            written = self.plain.network.generate(
                ids, max_new_tokens=how.max_tokens, do_sample=False, eos_token_id=None, pad_token_id=0
            )
            yield SimpleNamespace(outputs=[SimpleNamespace(token_ids=written[0, ids.shape[1] :].tolist())])


@pytest.fixture
def ref(tmp_path: Path) -> ModelRef:
    path = checkpoint(tmp_path / "model")
    return ModelRef(name="model", kind="checkpoint", path=path, digest="-")


def answers(model: local.LocalModel) -> list[Completion]:
    prompts = [Prompt(prompt_id=str(number), text=f"w{number} w{number + 1}") for number in range(6)]
    return list(model.generate(prompts, Sampling(temperature=0, max_tokens=9, stop=("w7", "w20"))))


def test_vllm_s_tokens_give_the_completions_that_transformers_gives(
    ref: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = ModuleType("vllm")
    stand_in.LLM, stand_in.SamplingParams = StandIn, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    monkeypatch.setattr(engine, "AT_ONCE", 4)
    model = local.load(ref, by="vllm")
    assert answers(model) == answers(local.load(ref))
    assert model.engine.parts == [4, 2]


def test_where_vllm_is_not_installed_the_error_says_what_to_install(
    ref: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModelError, match=r"pip install 'veneer\[vllm\]'"):
        local.load(ref, by="vllm")
