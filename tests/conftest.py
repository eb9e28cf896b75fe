"""What every test may ask for: its own cache, tiny models, and public data where a copy lies at hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before torch and numpy are imported, here and in subprocesses: tiny models gain nothing from a second thread, and two
# test runs on one machine wait for each other's at every product (the same tests: 19 s alone, 230 s side by side).
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from support.tiny_models import write_tiny_bert, write_tiny_gpt2, write_tiny_llama  # noqa: E402

# What runs in the background of a shell is handed SIGINT ignored, and hands it on to what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, and none of the caller's settings; nothing a test does outlives it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("TAILTUNE_HOME", str(home))
    for name in ("TAILTUNE_DATA", "TAILTUNE_MODEL", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random Llama of 4 blocks; read it only."""
    return write_tiny_llama(tmp_path_factory.mktemp("llama"), seed=0)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random GPT-2 of 4 blocks; read it only."""
    return write_tiny_gpt2(tmp_path_factory.mktemp("gpt2"), seed=0)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random BERT of 4 blocks; read it only."""
    return write_tiny_bert(tmp_path_factory.mktemp("bert"), seed=0)


_PUBLIC = Path(os.environ.get("TAILTUNE_DATA") or _ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public data sets: TAILTUNE_DATA as the tests started with it, else one beside the checkout."""
    if not _PUBLIC.is_dir():
        pytest.skip("no public data at hand: set TAILTUNE_DATA to a folder that holds sms_spam/SMSSpamCollection")
    return _PUBLIC


@pytest.fixture(scope="session")
def sms_spam(public_data: Path) -> Path:
    """The SMS Spam Collection as published: label TAB text, 5,574 lines."""
    path = public_data / "sms_spam" / "SMSSpamCollection"
    if not path.is_file():
        pytest.skip(f"no SMS Spam Collection at {path}")
    return path
