"""The shape of the code is a contract: layers, sizes, what an import costs, what no module may do.

A function's length is its lines from ``def`` (or its first decorator) to its end, without those of its docstring:
documenting more must never be a reason to split.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tailtune

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "tailtune"
MODULES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

HEAVY = {
    "torch",
    "sklearn",
    "polars",
    "numpy",
    "transformers",
    "tokenizers",
    "gguf",
    "huggingface_hub",
    "safetensors",
    "peft",
}

# The tokenizers library raises Exception itself for a file it cannot read, and nothing narrower. A text that cannot be
# computed, for whatever reason, must not take the texts of others along.
BROAD_ALLOWED = ["src/tailtune/service/batcher.py", "src/tailtune/text/tokenizer.py"]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def where(path: Path, node: ast.stmt | ast.expr | ast.ExceptHandler | None = None) -> str:
    line = f":{node.lineno}" if node is not None else ""
    return f"{path.relative_to(ROOT)}{line}"


def functions() -> Iterator[tuple[Path, Function]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield path, node


def length(node: Function) -> int:
    """Return the lines of a function without its docstring."""
    first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
    lines = (node.end_lineno or node.lineno) - first + 1
    if ast.get_docstring(node) is not None:
        documented = node.body[0]
        lines -= (documented.end_lineno or documented.lineno) - documented.lineno + 1
    return lines


def run_python(code: str) -> str:
    """Return what a fresh interpreter prints; it must succeed."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_layers() -> None:
    """Imports go one way; the contract stands in pyproject.toml."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_is_light_and_silent() -> None:
    """No tensor library, no warning filter, no logging handler, no environment variable: nothing happens on import."""
    code = (
        "import logging, os, sys, warnings\n"
        "before = (dict(os.environ), list(warnings.filters), list(logging.root.handlers))\n"
        "import tailtune\n"
        "assert before == (dict(os.environ), list(warnings.filters), list(logging.root.handlers))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    assert not HEAVY & set(run_python(code).split())


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    """Help must answer at once, and does not need what training needs."""
    code = f"import sys; from tailtune.cli import main; main({arguments!r}); print('MODULES', *sys.modules)"
    loaded = {name.split(".")[0] for name in run_python(code).rpartition("MODULES")[2].split()}
    assert "tailtune" in loaded
    assert not HEAVY & loaded


def test_help_answers_within_half_a_second() -> None:
    """The best of five, since other work on the machine can only add to it."""

    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tailtune.cli", "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


def test_predicting_loads_no_training_code() -> None:
    """What answers in service is small: no scikit-learn, no polars, no loop, no file readers."""
    loaded = set(run_python("import sys; import tailtune.predict; print(*sys.modules)").split())
    assert "tailtune.predict" in loaded
    assert not {"sklearn", "polars", "transformers", "gguf", "huggingface_hub", "rich", "typer"} & loaded
    assert not {
        name
        for name in loaded
        if re.match(r"tailtune\.(train|data|evaluate|cli|methods\.(probe|tail|auto|trained|lora|descent))", name)
    }


def test_one_module_each_imports_transformers_and_peft() -> None:
    """Extras that cost seconds to import: models without a family here ask for the one, LoRA for the other."""
    imported = {
        (where(path), name)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    importing = {(place, name.split(".")[0]) for place, name in imported}
    assert {each for each in importing if each[1] in ("transformers", "peft")} == {
        ("src/tailtune/models/generic/library.py", "transformers"),
        ("src/tailtune/methods/lora.py", "peft"),
    }
    code = "import sys; import tailtune.models.parts, tailtune.methods.trained, tailtune.methods.adapter"
    assert not {"transformers", "peft"} & set(run_python(f"{code}; print(*sys.modules)").split())


def test_no_broad_except() -> None:
    """A handler names what it can handle; Exception and BaseException are caught in one place, named above."""
    broad = [
        where(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        if node.type is None
        or {"Exception", "BaseException"} & {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)}
    ]
    assert broad == BROAD_ALLOWED


def test_modules_are_short() -> None:
    """At most 400 lines."""
    lines = {where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {name: count for name, count in lines.items() if count > 400}


def test_functions_are_short() -> None:
    """None above 60 lines, nine in ten at most 35, half at most 10."""
    lengths = {f"{where(path, node)} {node.name}": length(node) for path, node in functions()}
    ordered = sorted(lengths.values())
    assert not {name: count for name, count in lengths.items() if count > 60}
    assert ordered[int(0.9 * len(ordered))] <= 35
    assert statistics.median(ordered) <= 10


def test_everything_public_is_documented() -> None:
    """Modules, public classes, public functions and public methods have a docstring; nested functions are private."""
    missing = [where(path) for path, tree in TREES.items() if tree.body and ast.get_docstring(tree) is None]
    for path, tree in TREES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        scopes: list[ast.Module | ast.ClassDef] = [tree, *classes]
        public = [
            node
            for scope in scopes
            for node in scope.body
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
        ]
        missing += [f"{where(path, node)} {node.name}" for node in public if ast.get_docstring(node) is None]
    assert not missing


def test_only_the_command_line_prints() -> None:
    """Libraries return, raise or tell a Progress; they never write to the terminal."""
    printing = [
        where(path, node)
        for path, tree in TREES.items()
        if SOURCE / "cli" not in path.parents
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


def test_no_unfinished_business() -> None:
    """What is not done is in an issue, not in a comment."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert not [where(path) for path in MODULES if marks.search(path.read_text(encoding="utf-8"))]


def test_all_equals_reality() -> None:
    """Every name in an ``__all__`` is there and listed once; the package offers exactly what it lists."""
    for information in pkgutil.walk_packages(tailtune.__path__, "tailtune."):
        if information.name.endswith("__main__"):
            continue
        module = importlib.import_module(information.name)
        listed = getattr(module, "__all__", [])
        assert len(listed) == len(set(listed)), information.name
        assert [name for name in listed if not hasattr(module, name)] == [], information.name
    offered = getattr(tailtune, "__all__", [])
    assert [name for name in offered if not hasattr(tailtune, name)] == []


def test_versions_agree() -> None:
    """Package metadata, ``__version__`` and the newest changelog entry name one version."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert declared == tailtune.__version__ == newest.group(1)
