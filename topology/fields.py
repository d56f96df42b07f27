"""A mapping from outside (Kubernetes JSON, YAML), read field by field with the path of each in the error.

Whoever reads objects of others meets every wrong type sooner or later; here each becomes one `Misconfigured` that says
where, instead of an `AttributeError` far away.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sliceward.topology.errors import Misconfigured


class Fields(NamedTuple):
    """A mapping and the path that leads to it. A missing field and one that is null are the same.

    A tuple, because a fleet makes a quarter of a million of them, and a frozen dataclass takes twice as long to make.
    """

    mapping: Mapping[str, Any]
    path: str

    @classmethod
    def of(cls, value: object, path: str) -> Fields:
        """Wrap ``value`` if it is a mapping. Raises `Misconfigured` otherwise."""
        if not (type(value) is dict or isinstance(value, Mapping)):  # what JSON gives, at a tenth of the price
            raise _wrong(path, value, "a mapping")
        return cls(value, path)

    def where(self, key: str) -> str:
        """Give the path of a field."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.mapping.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """Give a text."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise _wrong(self.where(key), value, "text")
        return value

    def integer(self, key: str, default: int = 0) -> int:
        """Give a whole number that is not negative."""
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _wrong(self.where(key), value, "a whole number from 0 up")
        return value

    def flag(self, key: str) -> bool:
        """Give a truth value, False where it is missing."""
        value = self._value(key, default=False)
        if not isinstance(value, bool):
            raise _wrong(self.where(key), value, "true or false")
        return value

    def at(self, key: str) -> Fields:
        """Give a mapping, empty where it is missing."""
        return Fields.of(self._value(key, {}), self.where(key))

    def texts(self, key: str) -> Mapping[str, str]:
        """Give a mapping of text to text, such as labels: the very one that was read where it is good, for fleets have many."""
        inner = self.at(key)
        if {*map(type, inner.mapping), *map(type, inner.mapping.values())} <= _TEXT:
            return inner.mapping
        return {name: inner.text(name) for name in map(_key, inner.mapping)}

    def each(self, key: str) -> tuple[Fields, ...]:
        """Give a list of mappings."""
        return tuple(Fields.of(item, f"{self.where(key)}[{n}]") for n, item in enumerate(self._items(key)))

    def pairs(self, key: str, name: str, value: str) -> dict[str, str]:
        """Give a list of mappings as a mapping of one of their texts to another; those without a name are left out."""
        items = self._items(key)
        found = {}
        for n, item in enumerate(items):
            one, other = (item.get(name), item.get(value)) if type(item) is dict else (None, None)
            if not (type(one) is str and type(other) is str):  # fleets have a hundred thousand of them, nearly all good
                fields = Fields.of(item, f"{self.where(key)}[{n}]")
                one, other = fields.text(name), fields.text(value)
            if one:
                found[one] = other
        return found

    def words(self, key: str) -> tuple[str, ...]:
        """Give a list of texts."""
        items = self._items(key)
        for n, item in enumerate(items):
            if not isinstance(item, str):
                raise _wrong(f"{self.where(key)}[{n}]", item, "text")
        return tuple(items)

    def only(self, *known: str) -> None:
        """Refuse fields that are not among ``known``, with the nearest one."""
        for key in self.mapping:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}"
                raise Misconfigured(self.where(str(key)), "is not a known key", hint)

    def _items(self, key: str) -> Sequence[Any]:
        value = self._value(key, ())
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise _wrong(self.where(key), value, "a list")
        return value

    def _value(self, key: str, default: object) -> object:
        value = self.mapping.get(key)
        return default if value is None else value


_TEXT = frozenset({str})


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise _wrong("key", key, "text")
    return key


def _wrong(where: str, value: object, wanted: str) -> Misconfigured:
    shown = repr(value)
    return Misconfigured(where, f"is {shown[:60]}{'…' if len(shown) > 60 else ''}", f"Give {wanted}")  # noqa: PLR2004 (a line)
