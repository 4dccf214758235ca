"""Texts that tokenizers read differently: marks, emoji, scripts without spaces, and none."""

ODD = [
    "",
    " ",
    "?!",
    "\0A\0",
    "E\u0301TE\u0301",
    "ΣΊΣΥΦΟΣ İ ẞ",
    "▁a▁ b",
    "a  b\n\r\t c don't :-)",
    "👩\u200d👧 ❤\ufe0f 🇩🇪",
    "\\0 (a|b) [c] ^$.",
    "日本語のテキスト、東京",
    "ภาษาไทย",
    "\u200fעברית\u200e العربية",
    "x" * 5000,
]
