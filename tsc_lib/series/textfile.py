"""Text files as lines: UTF-8 and nothing else, so that no two labels become one."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from tsc_lib.core.errors import UserError

PACKED = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"PK\x03\x04": "a ZIP archive, as spreadsheets are too",
}
"""How files begin that are often taken for the text in them."""

LINE_END = re.compile("\r\n|\r|\n")

NO_UTF8 = re.compile("[\udc80-\udcff]")
"""What Python makes of a byte that is no UTF-8, if asked to keep it."""


def decode(content: bytes, path: Path, comments: tuple[str, ...] = ()) -> list[str]:
    """The lines of a text file; what follows the last line end is a line too, mostly an empty one.

    Parameters
    ----------
    content : bytes
        The whole file.
    path : Path
        Where it came from, for the messages.
    comments : tuple of str
        What a line begins with that is not read; such lines of old files are in many encodings.

    Raises
    ------
    UserError
        If anything else than a comment is no UTF-8; the message says what it looks like.
    """
    for start, kind in PACKED.items():
        if content.startswith(start):
            raise UserError(f"{path} is {kind}; unpack it, or save it as text, and give the text file")
    if b"\0" in content or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        wide = b"\0" not in content or 0.3 < content.count(0) / len(content) < 0.8
        raise UserError(
            f"{path} is no text in UTF-8; it looks like {'UTF-16' if wide else 'binary data'}; save it as text in UTF-8"
        )
    text = content.decode("utf-8-sig", errors="surrogateescape")
    lines = LINE_END.split(text)
    if text.isascii():
        return lines
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith(comments):
            continue
        if NO_UTF8.search(line):
            raise UserError(f"{path}, line {number} is no UTF-8; {_advice(line, last=number == len(lines))}")
        if "\ufffd" in line:
            raise UserError(
                f"{path}, line {number} has a character that an earlier conversion lost (U+FFFD); convert the "
                "original file again"
            )
    return lines


def _advice(line: str, last: bool) -> str:
    """What the encoding of a line looks like, and what to do about it."""
    raw = line.encode(errors="surrogateescape")
    # Bytes between 0x80 and 0x9f are control characters in Latin-1, and nobody writes those.
    looks, name = ("Windows-1252", "cp1252") if re.search(rb"[\x80-\x9f]", raw) else ("Latin-1", "latin1")
    advice = f"it looks like {looks}; save it as UTF-8, for example with: iconv -f {name} -t utf-8"
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        if last and error.reason == "unexpected end of data":
            return f"it ends within a character, so the file is cut short, or {advice}"
    return advice
