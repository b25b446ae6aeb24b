"""Writes youtu.json: the texts of cases.json and some more, cut into pieces as GGUF's pre-tokenizer `youtu` says.

    pip install regex
    python3 tests/data/tokenizer/make_youtu.py

The patterns are those of llama.cpp's llama-vocab.cpp (MIT). Each is applied to every piece that the one before left, and cuts out its
matches; what lies between them is a piece as well.
"""

import json
import pathlib

import regex

HERE = pathlib.Path(__file__).parent
SUFFIX = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
STEPS = [
    r"[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|"
    r"[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
MORE = [
    "한국어와 漢字, ㄱㄴㄷ! ㄅㄆㄇ…“引用”——：；，、。〿︰﹏ 々〆ヶ",
    "杜甫 杜甫，春望！国破山河在　城春草木深",
    "HTMLParser XMLHttpRequest iPhone's WE'LL they'Re 'S ı'M don’t",
    "path/to//file /\n/usr\r\n///\n\n  a/b 1234567 ①② x²³ ٣٤",
    "end  of\t\ttabs  \n \n\n   \u3000  wide ",
]


def cut(text, pattern):
    pieces, at = [], 0
    for match in regex.finditer(pattern, text):
        pieces += [text[at : match.start()], match.group()]
        at = match.end()
    return [piece for piece in [*pieces, text[at:]] if piece]


def main():
    texts = [case["text"] for case in json.loads((HERE / "cases.json").read_text())["cases"]]
    texts = [text for text in texts if len(text) <= 400] + MORE
    cases = []
    for text in texts:
        pieces = [text] if text else []
        for step in STEPS:
            pieces = [part for piece in pieces for part in cut(piece, step)]
        assert "".join(pieces) == text
        cases.append({"text": text, "pieces": pieces})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "youtu.json").write_text(f"[\n{lines}\n]\n")


main()
