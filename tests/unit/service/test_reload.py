"""A new version takes the place of the old one whole, or not at all."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import int8_bundle, probe_bundle, several_bundle, tail_bundle
from support.serving import client_of, saved, service_of
from tailtune.bundle import Bundle, write_bundle
from tailtune.errors import ConfigError
from tailtune.labels import LabelSet
from tailtune.service.classify import Service
from tailtune.service.reload import Reloader
from tailtune.service.served import Reload, Served

TEXTS = ["claim your prize now", "lunch at noon?"]


def renamed(model: Path) -> Bundle:
    return replace(probe_bundle(model), labels=LabelSet(names=("ham", "rest", "spam")))


@pytest.fixture
def versions(tiny_llama: Path, tmp_path: Path) -> dict[str, Path]:
    """Return name -> bundle, and "now", a link to the first."""
    makes = {"probe": probe_bundle, "tail": tail_bundle, "renamed": renamed, "several": several_bundle}
    found = {name: saved(tiny_llama, tmp_path / name, make) for name, make in makes.items()}
    (tmp_path / "now").symlink_to("probe")
    return found | {"now": tmp_path / "now"}


def lead(link: Path, to: Path) -> None:
    """Let ``link`` lead to another folder from one moment to the next, as deployments do."""
    new = link.with_name("new")
    new.symlink_to(to.name)
    new.rename(link)


def reloader_of(service: Service, load: Callable[[str, Path], Served] = Served.load) -> tuple[Reloader, list[Reload]]:
    reloader, seen = Reloader(service, load), list[Reload]()
    reloader.seen.append(seen.append)
    return reloader, seen


def test_a_new_version_takes_over(versions: dict[str, Path]) -> None:
    """Clients see it by its digest; what the old one had in memory is given back; the way back is the same."""
    service = service_of(versions["now"])
    old = weakref.ref(service.pick().predictor)
    first, second = (Served.load("now", versions[name]) for name in ("probe", "tail"))

    async def ask() -> None:
        reloader, seen = reloader_of(service)
        async with client_of(service) as client:
            lead(versions["now"], versions["tail"])
            await reloader.reload()
            answer = (await client.post("/v1/classify", json={"texts": TEXTS})).json()
            assert answer["model"]["digest"] == second.digest
            rows = [list(each["probabilities"].values()) for each in answer["results"]]
            assert np.abs(np.array(rows) - second.predictor.predict_proba(TEXTS)).max() < 1e-6
            (model,) = (await client.get("/v1/models")).json()
            assert model["previous_digest"] == first.digest
            assert model["last_reload"]["outcome"] == "loaded"
            assert model["loaded_at"] <= model["last_reload"]["at"]
            lead(versions["now"], versions["probe"])
            await reloader.reload()
            await reloader.reload()
            assert [each.outcome for each in seen] == ["loaded", "loaded", "unchanged"]
            (model,) = (await client.get("/v1/models")).json()
            assert (model["digest"], model["previous_digest"]) == (first.digest, second.digest)

    asyncio.run(ask())
    gc.collect()
    assert old() is None


@pytest.mark.parametrize("broken", ["missing", "damaged", "lying", "renamed", "several", "fails"])
def test_a_version_that_cannot_serve_changes_nothing(
    versions: dict[str, Path], tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one answers on, one line says why, and who counts is told."""
    service = service_of(versions["now"])

    def load(name: str, path: Path) -> Served:
        if broken == "fails":
            raise MemoryError("".join(("a", "text")))
        return Served.load(name, path)

    if broken == "missing":
        versions["now"].unlink()
    elif broken == "damaged":
        shutil.copytree(versions["tail"], tmp_path / "damaged")
        with (tmp_path / "damaged" / "backbone.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x7f")
        lead(versions["now"], tmp_path / "damaged")
    elif broken == "lying":
        lying = Served.load("tail", versions["tail"]).predictor
        golden = tuple((text, (1.0, 0.0, 0.0)) for text, _ in lying.bundle.golden)
        (tmp_path / "lying").mkdir()
        write_bundle(replace(lying.bundle, golden=golden), tmp_path / "lying", extra={})
        lead(versions["now"], tmp_path / "lying")
    else:
        lead(versions["now"], versions["tail" if broken == "fails" else broken])

    async def ask() -> None:
        before = service.pick()
        reloader, seen = reloader_of(service, load)
        async with client_of(service) as client:
            await reloader.reload()
            assert service.pick() is before
            assert [each.outcome for each in seen] == ["failed"]
            assert (await client.post("/v1/classify", json={"texts": TEXTS})).status_code == 200
            (model,) = (await client.get("/v1/models")).json()
            assert model["last_reload"]["outcome"] == "failed"
            assert model["previous_digest"] is None

    asyncio.run(ask())
    (record,) = (each for each in caplog.records if each.levelname == "ERROR")
    assert record.getMessage().startswith("model 'now': not loaded again, version ")
    assert "atext" not in caplog.text


def test_who_was_admitted_is_answered_by_the_version_of_then(versions: dict[str, Path]) -> None:
    """A request that waits while the version changes says the old digest, and has the old answers."""
    service = service_of(versions["now"], workers=1)
    first = Served.load("now", versions["probe"])

    async def ask() -> None:
        reloader, _ = reloader_of(service)
        waiting = asyncio.create_task(service.classify(TEXTS))  # nothing is computed before it starts
        await asyncio.sleep(0)
        lead(versions["now"], versions["tail"])
        await reloader.reload()
        assert service.pick().digest != first.digest
        await service.start()
        answers = await waiting
        assert answers.served.digest == first.digest
        rows = np.array([list(each.probabilities.values()) for each in answers.predictions])
        assert np.abs(rows - first.predictor.predict_proba(TEXTS)).max() < 1e-6
        await service.stop()

    asyncio.run(ask())


def test_it_answers_while_a_version_is_loaded(versions: dict[str, Path]) -> None:
    """Loading, in a thread, and answering do not wait for each other; under load every answer is that of its digest."""
    service = service_of(versions["now"], workers=2)
    both = [Served.load("now", versions[name]) for name in ("probe", "tail")]
    expected = {each.digest: each.predictor.predict_proba(TEXTS) for each in both}

    async def ask() -> set[str]:
        reloader, seen = reloader_of(service)
        found: set[str] = set()
        async with client_of(service) as client:

            async def asking() -> None:
                while len(seen) < 4:
                    answer = (await client.post("/v1/classify", json={"texts": TEXTS})).json()
                    rows = np.array([list(each["probabilities"].values()) for each in answer["results"]])
                    assert np.abs(rows - expected[answer["model"]["digest"]]).max() < 1e-6
                    found.add(answer["model"]["digest"])

            async def reloading() -> None:
                for name in ("tail", "probe", "tail", "probe"):
                    lead(versions["now"], versions[name])
                    await reloader.reload()

            await asyncio.gather(*(asking() for _ in range(8)), reloading())
        return found

    assert asyncio.run(ask()) == set(expected)


def test_looking_loads_what_has_changed_and_tries_what_failed_once(versions: dict[str, Path], tmp_path: Path) -> None:
    """A version that failed is left alone until its files change: a copy that is not whole yet will be."""
    service = service_of(versions["now"])
    half = tmp_path / "half"
    shutil.copytree(versions["tail"], half)
    (half / "classifier.safetensors").unlink()

    async def ask() -> list[str]:
        reloader, seen = reloader_of(service)
        await reloader.look()
        assert not seen
        lead(versions["now"], half)
        await reloader.look()
        await reloader.look()
        assert [each.outcome for each in seen] == ["failed"]
        shutil.copy2(versions["tail"] / "classifier.safetensors", half)
        await reloader.look()
        versions["now"].unlink()
        await reloader.look()
        return [each.outcome for each in seen]

    assert asyncio.run(ask()) == ["failed", "loaded"]


def test_who_asks_has_everything_read_again(versions: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    """Other things too, such as keys; one that cannot be read keeps nothing else from it."""
    service = service_of(versions["now"], versions["several"])
    calls: list[int] = []

    def fails() -> None:
        raise ConfigError("keys.txt: holds no key")

    async def ask() -> list[tuple[str, str]]:
        reloader, seen = reloader_of(service)
        reloader.first += [fails, lambda: calls.append(1)]
        running = asyncio.create_task(reloader.run())
        lead(versions["now"], versions["tail"])
        reloader.ask()
        while len(seen) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        return [(each.name, each.outcome) for each in seen]

    assert asyncio.run(asyncio.wait_for(ask(), 60)) == [("now", "loaded"), ("several", "unchanged")]
    assert calls == [1]
    assert "keys.txt: holds no key" in caplog.text


def test_it_looks_by_itself(versions: dict[str, Path]) -> None:
    """With a time between looks nobody has to ask."""
    service = service_of(versions["now"])

    async def ask() -> None:
        reloader = Reloader(service, Served.load, every=0.01)
        running = asyncio.create_task(reloader.run())
        lead(versions["now"], versions["tail"])
        while not service.reloads:
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(ask(), 60))
    assert service.pick().digest == Served.load("now", versions["tail"]).digest


def test_an_int8_version_may_follow(tiny_llama: Path, versions: dict[str, Path], tmp_path: Path) -> None:
    """Only the labels must stay: method, depth and precision are the version's own business."""
    service = service_of(versions["now"])
    saved(tiny_llama, tmp_path / "int8", int8_bundle)
    lead(versions["now"], tmp_path / "int8")

    async def ask() -> list[Reload]:
        reloader, seen = reloader_of(service)
        await reloader.reload()
        return seen

    (told,) = asyncio.run(ask())
    assert told.outcome == "loaded"
