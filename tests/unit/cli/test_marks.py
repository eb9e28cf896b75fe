"""Words in colour where there is a terminal, in signs everywhere, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest

from support.terminal import open_terminal
from tailtune.cli.marks import markdown, marked, spoken
from tailtune.explain import Highlight

TEXT = "WINNER now, or lunch"


def highlights(*changes: float) -> list[Highlight]:
    spans = [(0, 6), (7, 11), (12, 14), (15, 20)]
    return [
        Highlight(start=start, end=end, text=TEXT[start:end], change=change)
        for (start, end), change in zip(spans, changes, strict=True)
    ]


def test_colours_follow_sign_and_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    """Green speaks for the label, red against it, faint words and signs that a terminal would obey have none."""
    monkeypatch.setenv("TERM", "xterm-256color")
    with open_terminal() as terminal:
        monkeypatch.setattr("sys.stdout", terminal.stream)
        marked(f"{TEXT}\x1b[31m\nnext", highlights(0.6, 0.1, 0.004, -0.5))
    assert "\x1b[1;7;32mWINNER\x1b[0m \x1b[32mnow,\x1b[0m or \x1b[1;7;31mlunch\x1b[0m" in terminal.raw
    assert terminal.text.splitlines() == [f"{TEXT} [31m", "next"]
    monkeypatch.setenv("NO_COLOR", "1")
    with open_terminal() as terminal:
        monkeypatch.setattr("sys.stdout", terminal.stream)
        marked(TEXT, highlights(0.6, 0.1, 0.004, -0.5))
    assert "\x1b[3" not in terminal.raw
    assert "32m" not in terminal.raw


def test_words_are_spoken_by_sign() -> None:
    """The strongest first, in points; what changes next to nothing is not spoken of."""
    said = spoken(highlights(0.1, 0.6, 0.004, -0.5), "spam")
    assert said == "for spam: now, +60.0, WINNER +10.0; against spam: lunch \u221250.0"
    assert spoken(highlights(0, 0.001, 0, 0), "spam") == "no word alone changes it by half a point"
    assert spoken([], "spam") == "no word alone changes it by half a point"


def test_a_card_loses_its_front_matter(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe it is as it is; a line in it that looks like front matter stays."""
    markdown("---\nname: x\n---\n# Card\n\n---\n\nText [a](b)\n")
    assert capsys.readouterr().out == "# Card\n\n---\n\nText [a](b)\n"
    markdown("# No matter\n")
    assert capsys.readouterr().out == "# No matter\n"
