"""The file of a profile: YAML whose size, nesting and repeats have an end."""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import date
from pathlib import Path

import yaml

from tsc_lib.core.errors import UserError, shorten
from tsc_lib.core.limits import quote

MOST_BYTES, MOST_VALUES, DEEPEST = 1_000_000, 10_000, 20
"""Of a profile's file, of the values in it with those that anchors repeat, and of their nesting."""


def read_yaml(path: Path) -> object:
    """What a YAML file holds: mappings with keys of text, lists, text, numbers and dates.

    Raises
    ------
    UserError
        If the file cannot be read, is not valid YAML or larger than any profile, or a key stands twice in a mapping.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is no profile: it has more than {MOST_BYTES:,} bytes")
        with path.open(encoding="utf-8") as file:  # whose name YAML's errors have
            return _bounded(yaml.load(file, _Loader), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a file that can") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except RecursionError:
        raise UserError(f"{path} is no profile: it nests too deeply") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML ({' '.join(str(error).split())[:500]}); mend it") from None
    except UserError:
        raise
    except Exception as error:  # whatever Python makes of a date, a number or a tag
        raise UserError(f"{path} is not valid YAML: a value in it cannot be read ({shorten(error)})") from None


def _bounded(content: object, where: str) -> object:
    """Refuse what nests too deeply, repeats itself without end by anchors, or is not made of plain values."""
    waiting, count = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > MOST_VALUES:
            raise UserError(f"{where} is no profile: it nests too deeply, or holds more than {MOST_VALUES:,} values")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise UserError(f"{where}: every key must be text, not {quote(key)}")
            waiting += [(each, depth + 1) for each in (*value, *value.values())]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif not isinstance(value, str | int | float | date | None):
            raise UserError(f"{where} is no profile: it holds {quote(value)}")
        elif isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise UserError(f"{where}: the text {quote(value)} has a character that no name has; leave it out")
    return content


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand once only, and no mapping is merged into another."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: list[object] = []
        for node_of_key, _ in node.value:
            problem = ""
            if node_of_key.tag == "tag:yaml.org,2002:merge":  # a few lines of them could make billions of values
                problem = "a profile merges no mappings (<<), so write the values out"
            elif (key := self.construct_object(node_of_key, deep=True)) in seen:
                problem = f"the key {quote(key)} stands twice"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node_of_key.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)
