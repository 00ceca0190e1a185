"""The student on disk: a folder that plain transformers (and vLLM) loads, with nothing of how it was trained in it."""

from pathlib import Path
from typing import Any

from veneer.disk import read_json, write_json
from veneer.study_train import RecipeSpec
from veneer.train import learner as learning
from veneer.train.learner import Learner
from veneer.train.preflight import stop_ids


def write(learner: Learner, base: Path, folder: Path) -> None:
    """Write a learner's model and tokenizer; adapters are merged into it, and kept beside it in `adapter/`.

    Args:
        learner: Trained.
        base: The checkpoint that it began as.
        folder: Where to.
    """
    full = learner.recipe.method == "full"
    weights = learner.accelerator.get_state_dict(learner.scored) if full else None
    if not learner.accelerator.is_main_process:
        return
    model = learner.model
    if not full:
        adapter = folder.with_name("adapter")
        # What was added to the embeddings is among what the adapter learned; the rest of them is the base's.
        model.save_pretrained(adapter, save_embedding_layers=False)
        _tidy(adapter)
        model = _merged(model, base, learner.recipe, adapter)
    _stop_where_training_does(model, learner.tokenizer)
    plain = {"state_dict": {_own(name): weight for name, weight in weights.items()}} if weights else {}
    model.save_pretrained(folder, **plain)
    learner.tokenizer.init_kwargs.pop(
        "local_files_only", None
    )  # How it was loaded is no property of the tokenizer.
    learner.tokenizer.save_pretrained(folder)


def _merged(model: Any, base: Path, recipe: RecipeSpec, adapter: Path) -> Any:
    """Return the model with its adapters in its weights.

    A base in 4 bits is loaded anew without: what is merged into 4 bits would be lost to rounding.
    """
    if recipe.method != "qlora":
        return model.merge_and_unload()
    import peft

    whole = learning.load(base, recipe.model_copy(update={"method": "lora"})).model
    return peft.PeftModel.from_pretrained(whole, adapter).merge_and_unload()


def _tidy(adapter: Path) -> None:
    """Take out of an adapter's files what is no property of it: where its base lay, and the order of a set."""
    (adapter / "README.md").unlink(missing_ok=True)
    config = read_json(adapter / "adapter_config.json")
    config["base_model_name_or_path"] = None
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    write_json(adapter / "adapter_config.json", config)


def _own(name: str) -> str:
    """Return a weight's name in the model, of its name in the module that returns the loss."""
    return name.removeprefix("module.").removeprefix("model.")


def _stop_where_training_does(model: Any, tokenizer: Any) -> None:
    stops = sorted(stop_ids(model.generation_config) | {tokenizer.eos_token_id})
    model.generation_config.eos_token_id = stops[0] if len(stops) == 1 else stops
