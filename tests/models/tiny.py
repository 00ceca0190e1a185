"""A checkpoint of a few thousand random weights, with a tokenizer of whole words, for tests of the machinery."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, END, UNKNOWN, BEGINNING = "<pad>", "<eos>", "<unk>", "<bos>"
SPECIAL = [PAD, END, UNKNOWN, BEGINNING, "<user>", "<asst>"]
WORDS = [
    *SPECIAL,
    *(f"w{number}" for number in range(40)),
    *"User: Assistant: System: Q: A: one two three . ! ?".split(),
]
CHAT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<user> {{ m['content'] }} "
    "{% elif m['role'] == 'assistant' %}<asst> {{ m['content'] }} <eos> "
    "{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<asst>{% endif %}"
)


def tokenizer(*, chat: str | None = CHAT, bos: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words."""
    backend = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token=UNKNOWN)
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        from tokenizers.processors import TemplateProcessing

        backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 3)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, bos_token=BEGINNING,
        additional_special_tokens=["<user>", "<asst>"],
    )  # fmt: skip
    made.chat_template = chat
    return made


def checkpoint(folder: Path, *, seed: int = 0, window: int = 128, kind: str = "llama") -> Path:
    """Write a checkpoint with random weights, large enough to make its choices differ, and return its folder."""
    torch.set_num_threads(1)  # As in the worker processes; more would only wait for one another at this size.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"vocab_size": len(WORDS), "bos_token_id": 3, "eos_token_id": 1, "initializer_range": 0.3}
        if kind == "llama":
            network = LlamaForCausalLM(
                LlamaConfig(
                    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                    max_position_embeddings=window, tie_word_embeddings=False, pad_token_id=0, **sizes,
                )
            )  # fmt: skip
        else:
            network = GPT2LMHeadModel(GPT2Config(n_positions=window, n_embd=32, n_layer=2, n_head=4, **sizes))
    network.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
