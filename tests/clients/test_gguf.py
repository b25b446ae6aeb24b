"""Files of `lyn quantize`, read by the package that llama.cpp's own converters write with."""

import json
import pathlib
import struct
import subprocess

import gguf
import numpy
import pytest

from conftest import LYN, ROOT

STORIES = ROOT / "models" / "stories"


def weights():
    """The built-in model's tensors, in f32."""
    data = (STORIES / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        bits = numpy.frombuffer(data[start:end], "<u2").astype(numpy.uint32)
        if entry["dtype"] == "BF16":
            yield name, (bits << 16).view(numpy.float32).reshape(entry["shape"])


@pytest.mark.parametrize("kind, error", [("bf16", 0), ("q8_0", 0.01), ("q5_1", 0.05), ("q4_k_m", 0.06), ("q2_k", 0.12)])
def test_file(tmp_path: pathlib.Path, kind: str, error: float):
    path = tmp_path / "stories.gguf"
    subprocess.run([LYN, "quantize", STORIES, path, "--type", kind], check=True, capture_output=True, timeout=120)
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.fields[key].contents()
    config = json.loads((STORIES / "config.json").read_text())
    assert value("general.architecture") == "deepseek32"
    assert value("deepseek32.block_count") == config["num_hidden_layers"]
    assert value("deepseek32.attention.indexer.top_k") == config["index_topk"]
    assert len(value("tokenizer.ggml.tokens")) == config["vocab_size"]
    tensors = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    names = {
        "model.embed_tokens": "token_embd",
        "lm_head": "output",
        "model.norm": "output_norm",
        "model.layers.2.self_attn.q_b_proj": "blk.2.attn_q_b",
        "model.layers.2.self_attn.indexer.wk": "blk.2.indexer.attn_k",
        "model.layers.2.mlp.gate": "blk.2.ffn_gate_inp",
    }
    compared = 0
    for name, values in weights():
        theirs = names.get(name.removesuffix(".weight"))
        if theirs:
            found = tensors[f"{theirs}.weight"].reshape(values.shape)
            assert numpy.sqrt(((found - values) ** 2).mean() / (values**2).mean()) <= error, name
            compared += 1
        elif ".experts.3.up_proj" in name:
            found = tensors[f"blk.{name.split('.')[2]}.ffn_up_exps.weight"][3]
            assert numpy.sqrt(((found - values) ** 2).mean() / (values**2).mean()) <= error, name
            compared += 1
    assert compared > len(names), "the experts of some layer as well"
