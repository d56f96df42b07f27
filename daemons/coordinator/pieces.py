"""A large JSON text of others, read value by value: one call for all of it would hold the interpreter for seconds.

No value is longer than `LONGEST`, and whoever refuses the first is not made to wait for the last.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

LONGEST = 256 * 1024
"""Characters of one value: to read them takes milliseconds."""
_USUAL = 4096
_AT_ONCE = 1 << 20
_BLANKS = re.compile(r"[ \t\n\r]{0,4096}")
_DECODER = json.JSONDecoder()


def decoded(body: bytes) -> str:
    """Give the text, in whichever UTF it is. Raises ValueError where it is in none."""
    parts = (body[begin : begin + _AT_ONCE] for begin in range(0, len(body), _AT_ONCE))
    return "".join(codecs.iterdecode(parts, json.detect_encoding(body[:4]), "surrogatepass"))


class Pieces:
    """One text and the place up to which it was read. All raises ValueError or RecursionError where it is no JSON."""

    def __init__(self, text: str) -> None:
        """Begin at the beginning."""
        self._text, self._at = text, 0

    def members(self, streamed: Container[str]) -> Iterator[tuple[str, Any]]:
        """Give the members of the object that the text must be; lists under a name in ``streamed`` as an iterator, to be gone through."""
        for _ in self._until("{", "}"):
            name = self._value()
            if not isinstance(name, str) or self._sign() != ":":
                raise self._wrong("no member of an object")
            yield name, self._items() if name in streamed and self._sees("[") else self._value()
        self._skip()
        if self._at != len(self._text):
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
            piece = self._text[self._at : self._at + most]
            last = self._at + len(piece) == len(self._text)
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
        while (blanks := _BLANKS.match(self._text, self._at)) and blanks.end() > self._at:
            self._at = blanks.end()

    def _wrong(self, why: str) -> ValueError:
        return ValueError(f"{why} at character {self._at}")
