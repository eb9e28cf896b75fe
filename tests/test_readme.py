"""README and guide cannot rot: code runs, settings are accepted, commands, codes, scripts, links and folders exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tailtune import errors
from tailtune.cli import main
from tailtune.resolving import resolve

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")

PRIZES = ("holiday", "phone", "voucher", "ringtone", "car", "laptop")
PLANS = ("lunch", "the match", "dinner", "the film", "a walk", "the lecture")
PLACES = ("station", "library", "park", "office", "cafe")
TEXTS = [
    *(f"WINNER!! Claim your {prize} now, collect it at the {place}" for prize in PRIZES for place in PLACES),
    *(f"Are you coming to {plan}? We meet at the {place}" for plan in PLANS for place in PLACES),
]
LABELS = ["spam"] * (len(TEXTS) // 2) + ["ham"] * (len(TEXTS) // 2)


def fenced(language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """Return the tailtune command lines of a page without comments; what is piped into them is left out."""
    lines = re.findall(r"^    (?:.*\| )?(tailtune .*)$", page, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_python_blocks_run(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom in one namespace, with a tiny random model as the default one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAILTUNE_MODEL", str(tiny_llama))
    names: dict[str, object] = {"texts": TEXTS, "labels": LABELS}
    blocks = fenced("python")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "spam").is_dir()


def test_settings_are_accepted(tmp_path: Path) -> None:
    """The TOML block resolves, each of its values from the file."""
    blocks = fenced("toml")
    assert len(blocks) == 1
    path = tmp_path / "train.toml"
    path.write_text(blocks[0], encoding="utf-8")
    resolved = resolve({"data": "messages.csv"}, path)
    given = re.findall(r"^([a-z-]+) =", blocks[0], re.MULTILINE)
    assert {resolved.origins[name.replace("-", "_")] for name in given} == {f"file {path}"}
    assert resolved.config.clip_norm is None


def test_commands_and_flags_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command shows its help, and the help names each flag used."""
    found, of_guide, of_models = (commands(page) for page in (README, GUIDE, MODELS))
    every = {"cache", "compare", "data", "evaluate", "experiments", "import", "inspect", "label", "models", "predict"}
    every |= {"serve", "suggest", "sweep", "train", "try", "zero-shot"}
    assert {line[0] for line in found} == every
    assert {line[0] for line in of_guide} == {"import", "predict", "train"}
    assert {line[0] for line in of_models} == {"models"}
    for line in found + of_guide + of_models:
        name = line[:2] if line[0] in {"data", "inspect", "models"} else line[:1]
        assert main([*name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert [word for word in line if word.startswith("--") and word not in shown] == []


def test_exit_codes_are_those_of_the_error_tree() -> None:
    """The table lists every code an error can give."""
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    tree: list[type[errors.TailtuneError]] = [
        errors.ConfigError,
        errors.DataError,
        errors.ModelError,
        errors.BundleError,
        errors.SetupError,
    ]
    assert table == {0, 130, 141} | {kind.exit_code for kind in tree}


def test_folders_exist() -> None:
    """The tree names what is there, and every package of the source."""
    named = re.findall(r"^(\S+/) {2,}\S", README, re.MULTILINE)
    assert [name for name in named if not (ROOT / name).is_dir()] == []
    packages = {f"src/tailtune/{path.parent.name}/" for path in (ROOT / "src" / "tailtune").glob("*/__init__.py")}
    assert packages <= set(named)


@pytest.mark.parametrize(("page", "folder"), [(README, ROOT), (GUIDE, ROOT / "docs"), (MODELS, ROOT / "docs")])
def test_linked_files_and_named_scripts_exist(page: str, folder: Path) -> None:
    """Relative links lead somewhere, and so do the scripts behind numbers."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page)
    assert links
    assert [link for link in links if not (folder / link).exists()] == []
    scripts = re.findall(r"`[^`]*\b(bench/[a-z_]+\.py)", page)
    assert scripts
    assert [script for script in scripts if not (ROOT / script).exists()] == []
