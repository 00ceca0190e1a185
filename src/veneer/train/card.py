"""What lies beside a student: its model card and its loss curve."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veneer.disk import Row, write_text
from veneer.train.ladder import Run


def write(run: Run, ledger: Mapping[str, Any], losses: Sequence[Row], folder: Path) -> None:
    """Write `losses.svg` and the checkpoint's `README.md`."""
    write_text(folder / "checkpoint" / "README.md", card(run, ledger, losses))
    draw(run.rung.name, losses, folder / "losses.svg")


def card(run: Run, ledger: Mapping[str, Any], losses: Sequence[Row]) -> str:
    """Return the model card, in the form that model hubs read."""
    rung, recipe = run.rung, run.recipe
    held_out = ledger["held_out_loss"]
    told = f"{held_out:.4f}" if isinstance(held_out, float) else f"not measured: {held_out['undefined']}"
    ways = {"full": "all weights", "lora": "LoRA, merged", "qlora": "QLoRA, merged"}
    whole = f"{ledger['examples']:,} whole examples with {ledger['tokens_of_examples']:,}"
    left = f"{len(ledger['too_long']):,} examples with {ledger['tokens_left_out']:,} tokens"
    rows = {
        "base": rung.base,
        "imitation data": f"{rung.source}, {rung.amount:,} tokens asked for: {whole}",
        "left out, since one exchange is longer than a row": f"{left}; a row has {ledger['row_tokens']:,}",
        "seed": rung.seed,
        "replay of pretraining text": f"{ledger['replay_rows']:,} rows with {ledger['replay_tokens']:,} tokens",
        "what learned": ways[recipe.method],
        "optimizer": f"{recipe.optimizer}, peak rate {ledger['highest_learning_rate']:.3g}, {recipe.schedule} schedule",
        "optimizer steps": f"{ledger['optimizer_steps']:,}, of them warm-up {ledger['warmup_steps']:,}",
        "tokens gone through": f"{ledger['tokens']:,}, of them learned {ledger['loss_tokens']:,}",
        "loss, first and last step": f"{losses[0]['loss']:.4f}, {losses[-1]['loss']:.4f} nats per learned token",
        "loss on held-out imitation data": told,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        "---\nlibrary_name: transformers\ntags: [imitation, veneer]\n---\n"
        f"# {rung.name}\n\n"
        "A student (imitation model): the base below, finetuned on a teacher's answers by Veneer. The loss lay on what "
        "the teacher wrote and on the token that ends its turn. Whether it got better or only sounds better is what "
        "the study's report says. The licences of the base and of the imitation data apply.\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n"
        f"Recipe: `{json.dumps(recipe.model_dump(mode='json', exclude={'tokens': {'chat_template'}}))}`\n"
    )


def draw(name: str, losses: Sequence[Row], file: Path) -> None:
    """Draw the loss and the learning rate over the tokens."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tokens = [row["tokens"] for row in losses]
    # A salt of its own, so that the same losses give the same bytes.
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(tokens, [row["loss"] for row in losses], color="#20639b", linewidth=1)
        axes.set(xlabel="tokens", ylabel="loss (nats per learned token)", title=name)
        rate = axes.twinx()
        rate.plot(tokens, [row["lr"] for row in losses], color="#999999", linewidth=0.8, linestyle="--")
        rate.set(ylabel="learning rate (dashed)")
        figure.savefig(file, format="svg", metadata={"Date": None})
