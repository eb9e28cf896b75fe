"""Everything that ``tailtune data check`` says: each given part by itself, and the parts beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tailtune.data import catalog
from tailtune.data.check import advised, check_dataset, worst_first
from tailtune.data.columns import Wanted
from tailtune.data.dataset import Dataset, Finding
from tailtune.data.decode import read_text
from tailtune.data.form import quoting_findings
from tailtune.data.groups import group_rows
from tailtune.data.leaks import leaks, unknown_labels
from tailtune.data.lengths import length_findings
from tailtune.data.read import is_parquet
from tailtune.data.scripts import language_mix
from tailtune.progress import Progress, silent


@dataclass(frozen=True, kw_only=True, slots=True)
class Reviewed:
    """One part and what is to be said of it.

    Attributes:
        name: ``training``, ``validation`` or ``test``.
        path: Its file.
        dataset: With all its columns.
        findings: The worst first; row numbers are those of the file.
    """

    name: str
    path: Path
    dataset: Dataset
    findings: tuple[Finding, ...]


def review(
    data: str,
    *,
    validation: str | None = None,
    test: str | None = None,
    wanted: Wanted,
    model: str | None = None,
    progress: Progress = silent,
) -> tuple[Reviewed, ...]:
    """Return the parts, training first, with all that is worth knowing before they are used.

    Args:
        data: File or named data set to learn from.
        validation: File of the validation part, if it is given.
        test: File of the test part, if it is given.
        wanted: How the columns are found.
        model: Lengths are counted in its tokens; None for no count.
        progress: Told about lines read and bytes fetched.

    Raises:
        DataError: If a part cannot be read at all.
        ConfigError: If there is no such model.
        ModelError: If its config or tokenizer cannot be used.
        SetupError: If something cannot be fetched or read.
    """
    given = {"training": data, "validation": validation, "test": test}
    reviewed: list[Reviewed] = []
    for name, reference in given.items():
        if reference is not None:
            reviewed.append(_part(name, reference, reviewed, wanted, model=model, progress=progress))
    return tuple(reviewed)


def _part(
    name: str,
    reference: str,
    before: list[Reviewed],
    wanted: Wanted,
    *,
    model: str | None,
    progress: Progress,
) -> Reviewed:
    named = catalog.locate(reference, progress)
    read = catalog.open_dataset(
        reference,
        text_column=wanted.text_column,
        label_column=wanted.label_column,
        others=wanted.others,
        form=wanted.label_form,
        progress=progress,
    )
    said = [*check_dataset(read)] if len(read) else [*read.findings]
    if mixed := language_mix(read):
        said.append(advised(mixed))
    if not is_parquet(named.path):
        said += quoting_findings(read, named.path, read_text(named.path).text, wanted)
    said += length_findings(read, model, progress) if model else ()
    if not before:
        said += group_rows(read).findings
    else:
        said += unknown_labels(before[0].dataset, read, part_as=name)
    for part in before:
        said += leaks(part.dataset, read, known_as=part.name, part_as=name)
    return Reviewed(name=name, path=named.path, dataset=read, findings=worst_first(said))
