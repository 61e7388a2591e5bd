"""JSON values that know where they stand, so that every complaint names its key.

The counterpart of the worker's ``contract/json.rs``: the same limits and the same words.
"""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import dataclass
from typing import Any

from ._errors import RefusedError

# Enough to recognise a value by.
SHOWN_CHARS_MAX = 60
# Deepest nesting that the worker's parser reads.
DEPTH_MAX = 127


def read(text: str) -> Any:
    """Parses JSON as strictly as the worker does; numbers beyond 64 bits become floats.

    Raises:
        RefusedError: When the text is not JSON.
    """
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except RecursionError as error:
        raise RefusedError("the contract is not JSON: recursion limit exceeded") from error
    except ValueError as error:
        raise RefusedError(f"the contract is not JSON: {error}") from error
    _check(value, DEPTH_MAX)
    return value


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) <= 20 else None
    if value is not None and -(1 << 63) <= value < 1 << 64 and digits != "-0":
        return value
    return _float(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _check(value: Any, depth: int) -> None:
    """Refuses what Python reads and the worker does not: deep nesting and halves of surrogate pairs."""
    if isinstance(value, str):
        if any(0xD800 <= ord(char) <= 0xDFFF for char in value):
            raise RefusedError("the contract is not JSON: half of a surrogate pair")
    elif isinstance(value, list | dict):
        if depth == 0:
            raise RefusedError("the contract is not JSON: recursion limit exceeded")
        for entry in value:
            _check(entry, depth - 1)
        if isinstance(value, dict):
            for entry in value.values():
                _check(entry, depth - 1)


def shown(value: Any) -> str:
    """A value as compact JSON with sorted keys, as the worker writes it."""
    if isinstance(value, float):
        return _shown_float(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(shown(entry) for entry in value) + "]"
    if isinstance(value, dict):
        entries = (f"{shown(key)}:{shown(value[key])}" for key in sorted(value, key=str.encode))
        return "{" + ",".join(entries) + "}"
    return json.dumps(value, ensure_ascii=False)


def _shown_float(value: float) -> str:
    text = repr(value)
    if not math.isfinite(value):
        return {"inf": "infinity", "-inf": "-infinity"}.get(text, "NaN")
    digits, _, exponent = text.partition("e-")
    if not exponent:
        return text
    if int(exponent) > 5:
        return f"{digits}e-{int(exponent)}"
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    return f"{sign}0.{'0' * (int(exponent) - 1)}{digits.replace('.', '')}"


@dataclass(frozen=True)
class Node:
    """A value and its path, such as ``features[2].scale``."""

    path: str
    value: Any

    def invalid(self, allowed: str) -> RefusedError:
        """The error that this value is not what it must be."""
        text = shown(self.value)
        found = text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "..."
        return RefusedError(f'contract key "{self.path or "(the whole contract)"}" is {found}; it must be {allowed}')

    def object(self, *known: str) -> Object:
        """An object without keys that are not ``known``."""
        if not isinstance(self.value, dict):
            raise self.invalid("an object")
        for key in sorted(self.value, key=str.encode):
            if key not in known:
                path = _join(self.path, key)
                raise RefusedError(
                    f'the contract has the unknown key "{path}": remove or rename it; known here are {", ".join(known)}'
                )
        return Object(self.path, self.value)

    def list(self, least: int, most: int) -> list[Node]:
        """The entries of a list of ``least`` to ``most``."""
        allowed = f"a list of {least}" if least == most else f"a list of {least} to {most}"
        if not isinstance(self.value, list):
            raise self.invalid(allowed)
        if not least <= len(self.value) <= most:
            raise self.invalid(f"{allowed}, not of {len(self.value)}")
        return [Node(f"{self.path}[{index}]", entry) for index, entry in enumerate(self.value)]

    def name(self, bytes_max: int) -> str:
        """Text of 1 to ``bytes_max`` bytes without control characters."""
        text = self.value
        if (
            not isinstance(text, str)
            or not 1 <= len(text.encode()) <= bytes_max
            or any(unicodedata.category(char) == "Cc" for char in text)
        ):
            raise self.invalid(f"text of 1 to {bytes_max} bytes without control characters")
        return text

    def number(self) -> float:
        """A finite number."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise self.invalid("a finite number")
        return float(number)

    def integer(self, least: int, most: int) -> int:
        """A whole number that is written as one."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise self.invalid(f"a whole number from {least} to {most}")
        return number

    def numbers(self, length: int) -> tuple[float, ...]:
        """A list of ``length`` finite numbers."""
        return tuple(node.number() for node in self.list(length, length))


@dataclass(frozen=True)
class Object:
    """An object whose keys are all known."""

    path: str
    entries: dict[str, Any]

    def get(self, key: str) -> Node | None:
        """The value of a key that may be left out."""
        return Node(_join(self.path, key), self.entries[key]) if key in self.entries else None

    def required(self, key: str) -> Node:
        """The value of a key that must be there."""
        node = self.get(key)
        if node is None:
            raise RefusedError(f'the contract has no key "{_join(self.path, key)}": add it')
        return node


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
