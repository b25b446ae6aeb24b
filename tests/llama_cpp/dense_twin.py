"""python3 dense_twin.py FROM TO: a checkpoint of DeepSeek-V3.2 without its indexers, as one of V3."""

import json
import pathlib
import shutil
import struct
import sys

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
config = json.loads((source / "config.json").read_text())
config = {key: value for key, value in config.items() if not key.startswith("index")} | {"model_type": "deepseek_v3"}
(target / "config.json").write_text(json.dumps(config))
for name in ["tokenizer.json", "tokenizer_config.json"]:
    shutil.copy(source / name, target / name)
data = (source / "model.safetensors").read_bytes()
length = struct.unpack("<Q", data[:8])[0]
header, data = json.loads(data[8 : 8 + length]), data[8 + length :]
kept, parts, at = {}, [], 0
for name, entry in header.items():
    if name != "__metadata__" and ".indexer." not in name:
        start, end = entry["data_offsets"]
        kept[name] = entry | {"data_offsets": [at, at + end - start]}
        parts.append(data[start:end])
        at += end - start
text = json.dumps(kept).encode()
text += b" " * (-len(text) % 8)
(target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
