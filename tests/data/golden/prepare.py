"""Copies golden checkpoints into this folder without what the tests do not read (standard library only).

    python prepare.py SOURCE_FOLDER

Kept whole: the first folder. In the others `attn_norm`, `ffn_norm`, `input` of later layers and `final_input` are left
out, which follow from `attn_out` and `ffn_out`; so are the largest `idx_q`, whose scores stay; everywhere the traces of
other implementations are left out.
"""
import json
import pathlib
import shutil
import struct
import sys

source, target = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent
for number, folder in enumerate(sorted(f.parent for f in source.glob("*/golden.safetensors"))):
    out = target / folder.name
    out.mkdir(exist_ok=True)
    for file in folder.iterdir():
        if file.name.startswith("model") or file.name == "config.json":
            shutil.copyfile(file, out / file.name)
    data = (folder / "golden.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kept, packed = {}, b""
    for name, entry in header.items():
        last = name.split(".")[-1]
        derived = last in ("attn_norm", "ffn_norm", "final_input") or (last == "input" and not name.startswith("layers.0."))
        derived |= last == "idx_q" and folder.name in ("b_yarn", "g_fp8_official")
        if name == "__metadata__" or name == "hf_logits" or name.startswith(("bf16.", "official.")) or (number and derived):
            continue
        start, end = entry["data_offsets"]
        kept[name] = {**entry, "data_offsets": [len(packed), len(packed) + end - start]}
        packed += body[start:end]
    text = json.dumps(kept, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (out / "golden.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + packed)
