"""Writes kimi/: a small tiktoken.model, and what tiktoken makes of the texts of cases.json with it.

    pip install tiktoken regex
    python3 tests/data/tokenizer/make_kimi.py

The vocabulary is trained on those texts, with Kimi-K2's cut of texts into pieces. Its last tokens are pieces that no merges lead
to: tiktoken takes a piece that is a token whole.
"""

import base64
import collections
import json
import pathlib

import regex
import tiktoken

HERE = pathlib.Path(__file__).parent
# Of Moonshot's tokenization_kimi.py.
PATTERN = "|".join([
    r"""[\p{Han}]+""",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""\p{N}{1,3}""",
    r""" ?[^\s\p{L}\p{N}]+[\r\n]*""",
    r"""\s*[\r\n]+""",
    r"""\s+(?!\S)""",
    r"""\s+""",
])
MERGES, WHOLE = 500, 40
SPECIAL = ["[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<think>"]


def trained(texts):
    pieces = collections.Counter(piece for text in texts for piece in regex.findall("(?V1)" + PATTERN, text))
    words = {piece: [bytes([byte]) for byte in piece.encode()] for piece in pieces}
    ranks = {bytes([byte]): byte for byte in range(256)}
    while len(ranks) < 256 + MERGES:
        pairs = collections.Counter()
        for piece, word in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += pieces[piece]
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merged = best[0] + best[1]
        ranks.setdefault(merged, len(ranks))
        for word in words.values():
            at = 0
            while at + 1 < len(word):
                if word[at] + word[at + 1] == merged:
                    word[at : at + 2] = [merged]
                at += 1
    for piece, _ in pieces.most_common():
        if len(ranks) == 256 + MERGES + WHOLE:
            break
        ranks.setdefault(piece.encode(), len(ranks))
    return ranks


def main():
    texts = [case["text"] for case in json.loads((HERE / "cases.json").read_text())["cases"]]
    ranks = trained(texts)
    special = {token: len(ranks) + place for place, token in enumerate(SPECIAL)}
    encoding = tiktoken.Encoding(name="kimi", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    folder = HERE / "kimi"
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    (folder / "tiktoken.model").write_text(lines)
    added = {str(id): {"content": token, "special": not token.startswith("<")} for token, id in special.items()}
    config = {"added_tokens_decoder": added, "tokenizer_class": "TikTokenTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    texts += ["[BOS]Hei<|im_end|><think>", "aaaaaaa", "  \n x", "IT'S they'LL", "汉字kana漢 ÅNGSTRÖM ǅ", "1234567 a" * 20]
    cases = [{"text": text, "ids": encoding.encode(text, allowed_special="all")} for text in texts]
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
