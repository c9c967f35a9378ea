"""Stages whose code changed: their versions are to be looked at, and the change is to be acknowledged.

A test fails when the code of a stage changed, comments and docstrings aside. Raise the stage's version in
`tsc_lib.study.versions` if it computes something else now; in either case record that you have looked::

    python -m tsc_lib.study.acknowledge train compress
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from tsc_lib.core.errors import UserError, run_command
from tsc_lib.core.files import PACKAGE, write_text
from tsc_lib.study.versions import NOT_STORED, STAGES

ACKNOWLEDGED = Path(__file__).with_name("acknowledged.txt")
"""Version and hash of the code of every stage, as somebody last looked at them."""


def hash_of(stage: str) -> str:
    """A hash of the code of a stage, without comments and docstrings; it stays when a module is only renamed.

    Raises
    ------
    UserError
        If the stage names a module or a function that does not exist.
    """
    parts = sorted(_digest(part) for name in STAGES[stage].code for part in _parts(stage, name))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def changed() -> dict[str, str]:
    """The stages whose code or version is not as it was acknowledged, and what to do about each."""
    known, found = _read(), {}
    for name, stage in STAGES.items():
        version, _, code = known.get(name, "").partition(" ")
        command = f"python -m tsc_lib.study.acknowledge {name}"
        if version != str(stage.version):
            found[name] = f"stage {name!r} has the new version {stage.version}; record it with: {command}"
        elif code != hash_of(name):
            found[name] = (
                f"the code of stage {name!r} changed; if it computes something else now, raise its version in "
                f"versions.py, and in either case run: {command}"
            )
    return found


def acknowledge(stages: Iterable[str]) -> None:
    """Record version and code of stages as they are.

    Raises
    ------
    UserError
        If a stage is unknown.
    """
    known = _read()
    for name in stages:
        if name not in STAGES:
            raise UserError(f"unknown stage {name!r}; the stages are {', '.join(STAGES)}")
        known[name] = f"{STAGES[name].version} {hash_of(name)}"
    write_text(ACKNOWLEDGED, "".join(f"{name} {known[name]}\n" for name in STAGES if name in known))


def _read() -> dict[str, str]:
    """Version and hash of each stage; of two lines about one, which a merge may leave, the last."""
    lines = ACKNOWLEDGED.read_text().splitlines() if ACKNOWLEDGED.exists() else []
    return {name: rest for name, _, rest in (line.partition(" ") for line in lines)}


def _parts(stage: str, name: str) -> list[ast.AST]:
    """The syntax trees that a name in `Stage.code` stands for."""
    module, _, function = name.partition(":")
    path = PACKAGE.joinpath(*module.split("."))
    if path.is_dir():
        others = {each for other in STAGES.values() for each in other.code if each != name} | set(NOT_STORED)
        files = [file for file in path.rglob("*.py") if not _names(file) & others]
    else:
        files = [file for file in [path.with_suffix(".py")] if file.exists()]
    nodes: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    if function:
        nodes = [each for tree in nodes for each in ast.iter_child_nodes(tree) if getattr(each, "name", "") == function]
    if not nodes:
        raise UserError(f"stage {stage!r} names {name!r}, which does not exist; correct it in versions.py")
    return nodes


def _names(file: Path) -> set[str]:
    """What a stage may call a module: by its own name, or by that of a package around it but the outermost."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return {".".join(parts[:end]) for end in range(2, len(parts) + 1)}


def _digest(node: ast.AST) -> str:
    return hashlib.sha256(repr(_plain(node)).encode()).hexdigest()


def _plain(node: object) -> object:
    """A syntax tree as nested lists, without what is empty and without strings that stand alone: docstrings."""
    if isinstance(node, list):
        return [_plain(each) for each in node if not (isinstance(each, ast.Expr) and _is_text(each.value))]
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return node


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def main(arguments: list[str] | None = None) -> int:
    """Acknowledge some stages, or tell which changed; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tsc_lib.study.acknowledge", description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help='names of stages, or "all"; without any, tell which')
    chosen = parser.parse_args(arguments).stages
    if not chosen:
        print("\n".join(changed().values()) or "no stage changed")
    return run_command(lambda: acknowledge(STAGES if chosen == ["all"] else chosen))


if __name__ == "__main__":
    sys.exit(main())
