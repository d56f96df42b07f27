"""A large JSON text of others, read value by value: one call for all of it would hold the interpreter for seconds.

It comes in parts, and stays so: to put 32 MiB together, or to copy them, holds it for 20 ms. No value is longer than `LONGEST`, and whoever
refuses the first is not made to wait for the last.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

LONGEST = 256 * 1024
"""Characters of one value: to read them takes milliseconds."""
_USUAL = 4096
_AT_ONCE = 1 << 20
_BLANKS = re.compile(r"[ \t\n\r]{0,4096}")
_DECODER = json.JSONDecoder()


def decoded(*body: bytes) -> Iterator[str]:
    """Give the text of a body that came in parts, part by part, in whichever UTF it is. Raises ValueError where it is in none."""
    parts = (part[begin : begin + _AT_ONCE] for part in body for begin in range(0, len(part), _AT_ONCE))
    begin = b"".join(part[:4] for part in body[:4])[:4]
    return codecs.iterdecode(parts, json.detect_encoding(begin), "surrogatepass")


class Pieces:
    """A text in parts, and the place up to which it was read; no more of it is held than one value needs.

    All raises ValueError or RecursionError where it is no JSON.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        """Begin at the beginning. ``_text``: what is held; ``_before``: how many characters came before it."""
        self._parts = iter(parts)
        self._text, self._at, self._before = "", 0, 0

    def _left(self, most: int) -> int:
        """Give how many characters are left, up to so many; they are held then."""
        while (left := len(self._text) - self._at) < most:
            more = next(self._parts, None)
            if more is None:
                return left
            self._before += self._at
            self._text, self._at = self._text[self._at :] + more, 0
        return most

    def members(self, streamed: Container[str]) -> Iterator[tuple[str, Any]]:
        """Give the members of the object that the text must be; lists under a name in ``streamed`` as an iterator, to be gone through."""
        for _ in self._until("{", "}"):
            name = self._value()
            if not isinstance(name, str) or self._sign() != ":":
                raise self._wrong("no member of an object")
            yield name, self._items() if name in streamed and self._sees("[") else self._value()
        self._skip()
        if self._left(1):
            raise self._wrong("more after its end")

    def _items(self) -> Iterator[Any]:
        for _ in self._until("[", "]"):
            yield self._value()

    def _until(self, begin: str, end: str) -> Iterator[None]:
        """Give a turn for each thing between two brackets, with commas between them."""
        if self._sign() != begin:
            raise self._wrong(f"no {begin}")
        if self._sees(end):
            self._sign()
            return
        while True:
            yield
            match self._sign():
                case ",":
                    continue
                case sign if sign == end:
                    return
                case _:
                    raise self._wrong(f"neither a comma nor {end}")

    def _value(self) -> Any:  # noqa: ANN401 (JSON of others)
        self._skip()
        for most in (_USUAL, LONGEST):
            last = self._left(most + 1) <= most
            piece = self._text[self._at : self._at + most]
            try:
                value, length = _DECODER.raw_decode(piece)
            except json.JSONDecodeError as error:
                if last:
                    raise self._wrong(error.msg) from None
                continue
            # A number at the very end of a piece may go on after it.
            if length < len(piece) or last:
                self._at += length
                return value
        raise self._wrong(f"a value of more than {LONGEST} characters, or none")

    def _sees(self, sign: str) -> bool:
        self._skip()
        return self._text.startswith(sign, self._at)

    def _sign(self) -> str:
        self._skip()
        found = self._text[self._at : self._at + 1]
        self._at += len(found)
        return found

    def _skip(self) -> None:
        while self._left(1) and (blanks := _BLANKS.match(self._text, self._at)) and blanks.end() > self._at:
            self._at = blanks.end()

    def _wrong(self, why: str) -> ValueError:
        return ValueError(f"{why} at character {self._before + self._at}")
