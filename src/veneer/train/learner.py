"""The model that learns, its optimizer, and one optimizer step: on one device or on many."""

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

from veneer.errors import ModelError
from veneer.models.encode import Encoded
from veneer.study_train import HardwareSpec, RecipeSpec, TokensSpec
from veneer.train.scored import Scored, learned, tensors_of

WHOLE = ("NO", "MULTI_GPU", "MULTI_CPU")
"""How accelerate calls it where each process holds the whole model."""
SHORT = 256
"""Padded rows up to this long train faster with eager attention than with fused (measured on CPU, small models)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A base as it came from disk."""

    tokenizer: Any
    model: Any
    new: tuple[int, ...]
    """Ids of the tokens that the recipe added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A model in training."""

    tokenizer: Any
    model: Any
    """The model itself, with its adapters if it has any; not wrapped."""
    scored: Any
    """The same as a module that returns its loss, wrapped for the processes that share the work."""
    optimizer: Any
    accelerator: Any
    recipe: RecipeSpec
    hardware: HardwareSpec


def load(base: Path, recipe: RecipeSpec) -> Loaded:
    """Return a base's tokenizer and model, both with the recipe's tokens.

    Raises:
        ModelError: It cannot be loaded, or the recipe asks for what is not installed.
    """
    options: dict[str, Any] = {"dtype": {"fp32": torch.float32, "bf16": torch.bfloat16}[recipe.weights]}
    if recipe.method == "qlora":
        options |= _four_bits()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            base, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"{base}: cannot be loaded: {error}. A folder as written by `save_pretrained` is wanted."
        ) from error
    return Loaded(tokenizer=tokenizer, model=model, new=add_tokens(tokenizer, model, recipe.tokens))


def add_tokens(tokenizer: Any, model: Any, spec: TokensSpec) -> tuple[int, ...]:
    """Give a tokenizer the recipe's tokens and template, and its model an embedding for each; return the new ids."""
    known = sorted(set(tokenizer.get_vocab().values()))
    new = dress(tokenizer, spec)
    if new:
        _embed(model, new, known)
    for config in (model.config, model.generation_config):
        if spec.pad:
            config.pad_token_id = tokenizer.pad_token_id
        if spec.stop:
            config.eos_token_id = tokenizer.eos_token_id
    return tuple(new)


def dress(tokenizer: Any, spec: TokensSpec) -> list[int]:
    """Give a tokenizer the recipe's tokens and template; return the ids that it had not."""
    known = set(tokenizer.get_vocab().values())
    if spec.chat_template:
        tokenizer.chat_template = spec.chat_template.read_text(encoding="utf-8")
    if spec.add:
        tokenizer.add_special_tokens(
            {"additional_special_tokens": list(spec.add)}, replace_extra_special_tokens=False
        )
    for role, token in (("pad_token", spec.pad), ("eos_token", spec.stop)):
        if token:
            tokenizer.add_special_tokens({role: token})
    return sorted(set(tokenizer.get_vocab().values()) - known)


@torch.no_grad()
def _embed(model: Any, new: Sequence[int], known: Sequence[int]) -> None:
    """Begin new tokens as the mean of the known ones: likelier than none, and the same each time.

    Many models have more embeddings than tokens: what lies in these rows was never trained, so that new tokens begin
    as the mean there too.
    """
    rows = model.get_input_embeddings().num_embeddings
    if new[-1] >= rows:
        model.resize_token_embeddings(new[-1] + 1, mean_resizing=False)
    begun, trained = [*new, *range(rows, new[-1] + 1)], [token for token in known if token < rows]
    layers = [layer for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer]
    for weight in {id(weight): weight for layer in layers for weight in layer.parameters()}.values():
        weight[begun] = weight[trained].mean(dim=0)


def learner_of(
    loaded: Loaded, recipe: RecipeSpec, hardware: HardwareSpec, longest: int, log: Path | None = None
) -> Learner:
    """Return a base ready to learn: its adapters, its optimizer, and the processes that share the work.

    Args:
        loaded: The base; the learner is made of it, so that it serves once.
        recipe: How it is trained.
        hardware: Where.
        longest: Tokens of the longest row.
        log: Where trackers that write files may; without it nothing is tracked.

    Raises:
        ModelError: The recipe asks for what the model has not, or a tracker is not installed.
    """
    from accelerate import Accelerator

    model = loaded.model
    for tracker in hardware.trackers:
        if not importlib.util.find_spec(tracker):
            raise ModelError(
                f"train.hardware.trackers: the package `{tracker}` is not installed: pip install {tracker}."
            )
    # The recipe alone says in what precision: what stands in accelerate's config changes no result.
    trackers = list(hardware.trackers) if log else []
    accelerator = Accelerator(mixed_precision="no", log_with=trackers or None, project_dir=log)
    if plugin := accelerator.state.deepspeed_plugin:
        _instruct(plugin, recipe)
    if recipe.method != "full":
        model = with_adapters(model, recipe, loaded.new)
    if recipe.method != "qlora" and accelerator.distributed_type in WHOLE:
        # Before it is looked at: what is computed in one go is told by where the weights are.
        model.to(accelerator.device)
    if hardware.gradient_checkpointing:
        # Renamed within transformers 5.
        renamed = getattr(model, "activation_checkpointing_enable", None)
        (renamed or model.gradient_checkpointing_enable)({"use_reentrant": False})
        if recipe.method != "full":
            model.enable_input_require_grads()
    scored = Scored(model, recipe, eager=longest <= SHORT)
    scored.train()
    wrapped, optimizer = accelerator.prepare(scored, _optimizer(model, recipe))
    return Learner(
        tokenizer=loaded.tokenizer,
        model=model,
        scored=wrapped,
        optimizer=optimizer,
        accelerator=accelerator,
        recipe=recipe,
        hardware=hardware,
    )


def _instruct(deepspeed: Any, recipe: RecipeSpec) -> None:
    """Have DeepSpeed do as the recipe says, whatever its config says: that changes no result."""
    deepspeed.deepspeed_config |= {
        # Of a data loader that there is not.
        "train_micro_batch_size_per_gpu": 1,
        # A loss is divided by it; when a step is due, `step` says.
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.clip,
        "bf16": {"enabled": recipe.weights == "bf16"},
    }


def step(learner: Learner, rows: Sequence[Encoded], rate: float) -> float:
    """Take one optimizer step on rows and return their mean loss per learned token, in nats.

    Args:
        learner: Changed in place.
        rows: The whole step's; each process takes its share of them.
        rate: The learning rate.
    """
    accelerator = learner.accelerator
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    count = sum(map(learned, rows))
    processes = accelerator.num_processes
    pieces = _share(rows, learner)
    losses: list[Tensor] = []
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        # DeepSpeed steps in `backward`, and asks here whether it should.
        accelerator.sync_gradients = last
        with nullcontext() if last else accelerator.no_sync(learner.scored):
            loss = learner.scored(*_tensors(piece or rows[:1], learner)) / count
            # Gradients are averaged over the processes, and the loss is a sum.
            accelerator.backward(loss * (processes if piece else 0))
        losses += [loss.detach()] if piece else []
    accelerator.clip_grad_norm_(learner.scored.parameters(), learner.recipe.clip)
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    # Read only here, since a GPU is waited for where a number is read.
    return _summed(accelerator, sum(loss.item() for loss in losses))


@torch.no_grad()
def mean_loss(learner: Learner, rows: Sequence[Encoded]) -> float:
    """Return the mean loss per learned token of rows, in nats, without learning from them."""
    learner.scored.eval()
    total = 0.0
    for piece in _share(rows, learner):
        found = learner.scored(*_tensors(piece or rows[:1], learner))
        total += found.item() if piece else 0.0
    learner.scored.train()
    return _summed(learner.accelerator, total) / sum(map(learned, rows))


def _tensors(rows: Sequence[Encoded], learner: Learner) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    return tensors_of(rows, packing=learner.recipe.packing, device=learner.accelerator.device)


def _summed(accelerator: Any, value: float) -> float:
    if accelerator.num_processes == 1:
        return value
    # A process without a row brings the whole number 0, and sums are of one kind of number in all.
    own = torch.tensor(float(value), device=accelerator.device)
    return float(accelerator.reduce(own, reduction="sum"))


def _share(rows: Sequence[Encoded], learner: Learner) -> list[list[Encoded]]:
    """Return this process's rows in pieces; as many in every process, empty ones at the end.

    Where weights are spread over the processes, each pass of one waits for a pass of all.
    """
    processes = learner.accelerator.num_processes
    shares = [list(_pieces(rows[one::processes], learner)) for one in range(processes)]
    mine = shares[learner.accelerator.process_index]
    return [*mine, *([] for _ in range(max(map(len, shares)) - len(mine)))]


def _pieces(rows: Sequence[Encoded], learner: Learner) -> Iterator[list[Encoded]]:
    """Yield rows in pieces of similar length that fit the memory."""
    piece: list[Encoded] = []
    room = learner.hardware.micro_tokens
    used = 0
    for row in sorted(rows, key=lambda row: len(row.input_ids), reverse=True):
        size = len(row.input_ids) if learner.recipe.packing or not piece else len(piece[0].input_ids)
        if piece and used + size > room:
            yield piece
            piece, used, size = [], 0, len(row.input_ids)
        piece.append(row)
        used += size
    if piece:
        yield piece


def with_adapters(model: Any, recipe: RecipeSpec, new_tokens: Sequence[int]) -> Any:
    """Return a model with the recipe's adapters around it.

    Args:
        model: It is changed in place.
        recipe: Its method is not `full`.
        new_tokens: Tokens whose rows learn too.

    Raises:
        ModelError: The recipe names layers that the model has not.
    """
    import peft

    spec = recipe.lora
    if recipe.method == "qlora":
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = peft.LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=list(spec.targets) or "all-linear",
        task_type="CAUSAL_LM",
        # GPT-2's layers hold their weights the other way round.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        trainable_token_indices=_rows_of(model, new_tokens),
    )
    try:
        # peft asks transformers for what that calls by another name by now; nobody here can mend it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return peft.get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"train.recipe.lora: {str(error).rstrip('.')}. Name layers of this model under `targets`, or leave it out."
        ) from error


def _rows_of(model: Any, new_tokens: Sequence[int]) -> dict[str, list[int]] | None:
    """Return which rows learn beside the adapters: the new tokens', in the embeddings and, if apart, in the output."""
    layers, output = [model.get_input_embeddings()], model.get_output_embeddings()
    # An output layer with a bias is left as it is: peft would leave out the bias.
    if output is not None and output.weight is not layers[0].weight and getattr(output, "bias", None) is None:
        layers.append(output)
    names = [name for name, layer in model.named_modules() if any(layer is each for each in layers)]
    return {name: list(new_tokens) for name in names} if new_tokens else None


def _four_bits() -> dict[str, Any]:
    if not importlib.util.find_spec("bitsandbytes") or not torch.cuda.is_available():
        raise ModelError(
            "train.recipe.method: qlora needs the package `bitsandbytes` and a GPU; here is "
            f"{'no GPU' if importlib.util.find_spec('bitsandbytes') else 'no such package'}. Install it on a machine "
            "with a GPU, or use `method: lora`."
        )
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def _optimizer(model: Any, recipe: RecipeSpec) -> torch.optim.Optimizer:
    """Return the optimizer; its decay leaves biases and norms alone.

    AdamW is Loshchilov and Hutter 2019. Adafactor (Shazeer and Stern 2018) scales each update by the weights' root
    mean square (section 8), which the paper did to AdamW's (its section 3).
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        made: torch.optim.Optimizer = Adafactor(
            groups, lr=recipe.learning_rate, scale_parameter=True, relative_step=False, warmup_init=False
        )
        return made
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
