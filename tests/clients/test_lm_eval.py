"""lm-evaluation-harness: a multiple-choice task and a perplexity task over local data.

The harness brings 760 MB with it, so it is run where somebody has installed it (0.4.13 was):

    python3 -m venv target/clients/lm-eval && target/clients/lm-eval/bin/pip install 'lm_eval[api]==0.4.13'

Everywhere else the same requests are sent, and read as it reads them (`local-completions`, `tokenizer_backend=remote`).
"""

import json
import math
import os
import subprocess
import urllib.request

import pytest

from conftest import TOOLS

HARNESS = TOOLS / "lm-eval" / "bin" / "lm_eval"
CHOICES = [
    {"question": "Once upon a time, there was a little", "choices": [" girl", " xqz"], "answer": 0},
    {"question": "Tim and Lily went to the", "choices": [" zzyx", " park"], "answer": 1},
    {"question": "She was very", "choices": [" happy", " of of of"], "answer": 0},
]
TEXTS = [
    {"text": "Once upon a time, there was a little girl named Lily. She loved to play in the park."},
    {"text": "Zxq vvkq 9981 plorf."},
]


def post(server, path, **body):
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def encode(server, text):
    return post(server, "/tokenize", prompt=text, add_special_tokens=False)["tokens"]


def score(server, prompts, context_lengths):
    """Log probabilities of what follows the contexts, and whether each token is the likeliest."""
    answer = post(
        server, "/v1/completions", model="deepseek-chat", prompt=prompts, temperature=0, max_tokens=1, logprobs=1, seed=1234,
        echo=True,
    )
    for choice, length in zip(sorted(answer["choices"], key=lambda choice: choice["index"]), context_lengths):
        own = choice["logprobs"]["token_logprobs"][length:-1]
        top = choice["logprobs"]["top_logprobs"][length:-1]
        yield sum(own), all(logprob == max(best.values()) for logprob, best in zip(own, top))


def test_its_requests_for_choices(server):
    for case in CHOICES:
        context = encode(server, case["question"])
        prompts = [encode(server, case["question"] + choice) for choice in case["choices"]]
        scores = [total for total, _ in score(server, prompts, [len(context)] * len(prompts))]
        assert scores.index(max(scores)) == case["answer"], (case, scores)


def test_its_requests_for_perplexity(server):
    info = server.get("/tokenizer_info")
    begin = encode(server, info["bos_token"])
    assert len(begin) == len(encode(server, info["eos_token"])) == 1
    bits = []
    for case in TEXTS:
        ids = encode(server, case["text"])
        assert post(server, "/detokenize", tokens=ids)["prompt"] == case["text"]
        # In windows, as long texts are: the second one begins with the token before it.
        half = len(ids) // 2
        windows = [(begin + ids[:half], 1), (ids[half - 1 :], 1)]
        total = sum(total for window in windows for total, _ in score(server, [window[0]], [window[1]]))
        bits.append(-total / math.log(2) / len(case["text"].encode()))
    assert 0 < bits[0] < 2 < bits[1], bits


TASKS = {
    "lyn_choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
    },
    "lyn_perplexity": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
}


@pytest.mark.skipif(not HARNESS.exists(), reason="lm_eval is not installed; see the head of this file")
def test_the_harness_itself(server, tmp_path):
    for (name, task), data in zip(TASKS.items(), (CHOICES, TEXTS)):
        lines = tmp_path / f"{name}.jsonl"
        lines.write_text("".join(json.dumps(case) + "\n" for case in data))
        files = {"data_files": {"test": str(lines)}}
        task = {"task": name, "dataset_path": "json", "dataset_kwargs": files, "test_split": "test", **task}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(task))
    model = f"base_url={server.base_url}/completions,model=deepseek-chat,tokenizer_backend=remote,num_concurrent=2"
    command = [
        HARNESS, "run", "--model", "local-completions", "--model_args", model, "--batch_size", "2", "--tasks", ",".join(TASKS),
        "--include_path", tmp_path, "--output_path", tmp_path / "out",
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OPENAI_API_KEY": "none"}
    subprocess.run(command, check=True, env={**os.environ, **offline}, cwd=tmp_path)
    (results,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(results.read_text())["results"]
    assert results["lyn_choices"]["acc,none"] == 1
    assert 0 < results["lyn_perplexity"]["bits_per_byte,none"] < 5
