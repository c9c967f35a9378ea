"""What a run depends on: frozen dataclasses with a stable key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, ClassVar, Self

from tsc_lib.core.files import Json

ADDED = {"added": True}
"""Metadata of a field that came after results were stored: at its default it is no content, so that keys stay."""


class Spec:
    """Base of every specification: a JSON round trip and a key made from the content."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where pydantic reads one from a file

    def to_json(self) -> Json:
        """The content as plain values, without fields that only say where something is stored."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every specification is a dataclass
        return {f.name: _plain(getattr(self, f.name)) for f in fields if self._is_content(f)}

    def _is_content(self, field: dataclasses.Field[Any]) -> bool:
        unset = field.metadata.get("added", False) and getattr(self, field.name) == field.default
        return field.metadata.get("keyed", True) and not unset

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """The specification that `to_json` described."""
        return cls(**content)

    @classmethod
    def restore(cls, value: Any) -> Self:
        """A specification within another, which JSON gives back as its content; one that is whole stays as it is."""
        return value if isinstance(value, cls) else cls.from_json(value)

    def key(self) -> str:
        """A short hash of the content: equal specifications, and only they, share it."""
        return digest(self.to_json())


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that identify JSON-able content, whatever the order of its keys."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
