"""Texts that break things: of every script and none, joined, marked, empty, very long."""

from __future__ import annotations

import numpy as np

_EMOJI = [
    "👍🏽", "👩🏽\u200d🚀", "❤\ufe0f\u200d🔥", "🇩🇪", "🇩", "🇩🇪🇫", "☺\ufe0e", "1\ufe0f\u20e3", "\U0001f3ff", "👍\u200d",
    "👨\u200d👩\u200d👧\u200d👦", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]  # fmt: skip
_PARTS = [
    _EMOJI,
    # right to left, with marks and overrides
    ["שָׁלוֹם", "مُحَمَّد", "\u202babc\u202c", "\u200fעולם\u200e", "\u2067١٢٣\u2069", "ـــ", "لا"],
    ["e\u0301", "Z\u0351\u036b\u0343\u036a\u0302\u036b", "\u0301", "=\u0338", "ﬁlm", "İSTANBUL", "ß", "Å", "ก\u0e49\u0e49\u0e49", "ᾳ"],
    ["不好", "電影", "ひらがな", "カタカナ", "한국어", "\u1112\u1161\u11ab", "漢\U000e0100", "𠮷", "，。！", "๑๒๓", "ไม่ดี", "၁၂"],
    ["\x00", "a\x00b", "\x01\x02", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029", "\x0b\x0c", "\ufeff", "\ufffd", "\uffff", "\U0010ffff"],
    # nothing to join or to vary
    ["\ufe0f", "\ufe0e", "\u200d", "\u200c", "\u200b", "\u00ad", "\U000e0067", "\u180e", "\u2060"],
    [" ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u3000", "\u2003"],
    ['"', '""', ",", ";", "'", "''", "\\", "\\n", "|", "#", "{}", "%s", "=1+1", "n't", "don’t"],
    ["__label__", "</s>", "<unk>", "[CLS]", "[SEP]", "-7", "1e9", "NaN", "null", "x_1", "e-mail"],
    ["good", "bad", "film", "3.5", "1,000", "not", "a"],
]  # fmt: skip
_POINTS = np.r_[0x0:0xD800, 0xE000:0x110000]  # all but surrogates, which no UTF-8 holds


def odd_texts(rows: int = 200, seed: int = 0) -> list[str]:
    """`rows` texts, all different but for some empty and repeated ones; the same for the same seed."""
    rng = np.random.default_rng(seed)
    texts = [
        "",
        " ",
        " \t\n\u3000",
        "\x00",
        "\x00\x00 \x00",
        "\ufe0f",
        "a" * 5000,
        "乂" * 1500,
        "\u0301" * 700,
        "๑" * 700,
        "",
        "film. " * 400,
    ]
    while len(texts) < rows:
        size = int(rng.integers(1, 25))
        if rng.random() < 0.3:  # any code points at all
            texts.append("".join(map(chr, rng.choice(_POINTS, size).tolist())))
            continue
        kinds = rng.choice(len(_PARTS), size=int(rng.integers(1, 4)), replace=False)
        words = [_PARTS[k][rng.integers(len(_PARTS[k]))] for k in rng.choice(kinds, size)]
        texts.append(("" if rng.random() < 0.2 else " ").join(words))
    texts[-1] = texts[-2]
    return texts
