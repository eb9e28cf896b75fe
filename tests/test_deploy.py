"""What is in deploy/: each file passes its linter, names flags that exist, and leaves time to drain."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.serving import saved, serving
from tailtune.cli import main
from tailtune.settings import parse_seconds

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
YAML_RULES = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
YAMLLINT = ["yamllint", "-s", "-d", YAML_RULES]
# Of 10: how exposed the unit may be by systemd's own count; what it needs is to listen, and to write machine code.
MOST_EXPOSED = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Linter:
    """A program and what it is asked.

    Attributes:
        file: Of deploy/.
        command: Its name, then arguments before the file.
        break_it: A part of the file and what to put there for it to be refused.
        silent: Whether a word on stderr is a refusal too: systemd-analyze warns of what it ignores.
    """

    file: str
    command: Sequence[str]
    break_it: tuple[str, str]
    silent: bool = False


SECURITY = ["systemd-analyze", "security", "--offline=true", f"--threshold={round(10 * MOST_EXPOSED)}"]
COMPOSE = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
LINTERS = [
    Linter(file="Containerfile", command=["hadolint"], break_it=("USER 10001:10001", "RUN cd /tmp && sudo ls")),
    Linter(file="compose.yaml", command=YAMLLINT, break_it=("read_only: true", "a: [1,2 ]")),
    Linter(file="compose.yaml", command=COMPOSE, break_it=("read_only: true", "read_only: [1]")),
    Linter(file="kubernetes.yaml", command=YAMLLINT, break_it=("replicas: 2", "a:  2")),
    Linter(file="kubernetes.yaml", command=["kubernetes-validate", "--strict"], break_it=("replicas: 2", "replica: 2")),
    Linter(file="prometheus.yaml", command=YAMLLINT, break_it=("job_name:", "job_name :")),
    Linter(
        file="tailtune@.service",
        command=["systemd-analyze", "verify", "--man=no"],
        break_it=("ProtectSystem=", "ProtectSystems="),
        silent=True,
    ),
    Linter(file="tailtune@.service", command=SECURITY, break_it=("DynamicUser=yes", "DynamicUser=no\nUser=root")),
]


def content(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def kubernetes(kind: str) -> Any:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    return next(each for each in documents if each["kind"] == kind)


def unit(key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", (DEPLOY / "tailtune@.service").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def container_line(key: str) -> list[str]:
    """The JSON list of an instruction."""
    found = re.search(rf"^{key} (\[.*\])$", (DEPLOY / "Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def container() -> Any:
    return kubernetes("Deployment")["spec"]["template"]["spec"]["containers"][0]


def command_lines() -> dict[str, list[str]]:
    """What each file gives to ``tailtune serve``."""
    return {
        "Containerfile": [*container_line("ENTRYPOINT"), *container_line("CMD")][2:],
        "compose.yaml": content("compose.yaml")["services"]["tailtune"]["command"],
        "kubernetes.yaml": container()["args"],
        "tailtune@.service": shlex.split(unit("ExecStart"))[2:],
    }


def lint(linter: Linter, folder: Path, *, broken: bool) -> subprocess.CompletedProcess[str]:
    """Run a linter on the file, or on what is broken of it; a unit gets a program that is there."""
    own = Path(sys.executable).parent / linter.command[0]
    program = str(own) if own.exists() else shutil.which(linter.command[0])
    if program is None:
        pytest.skip(f"{linter.command[0]} is not on this machine")
    text = (DEPLOY / linter.file).read_text(encoding="utf-8").replace("/opt/tailtune/bin/tailtune", sys.executable)
    changed = text.replace(*linter.break_it)
    assert changed != text
    file = folder / linter.file
    file.write_text(changed if broken else text, encoding="utf-8")
    environment = {**os.environ, "BUNDLE": "bundle", "KEYS": "keys"}
    command = [program, *linter.command[1:], str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


@pytest.mark.parametrize("linter", LINTERS, ids=lambda each: f"{each.file} {each.command[0]}")
def test_linters(linter: Linter, tmp_path: Path) -> None:
    """Each file passes, and would not if it were broken."""
    good, bad = (lint(linter, tmp_path, broken=broken) for broken in (False, True))
    assert good.returncode == 0, good.stdout + good.stderr
    assert not (linter.silent and good.stderr), good.stderr
    assert bad.returncode != 0 or (linter.silent and bad.stderr), bad.stdout


def test_flags_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Every flag that is given is in the help."""
    assert main(["serve", "--help"]) == 0
    there = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for name, line in command_lines().items():
        given = {word for word in line if word.startswith("--")}
        assert given, name
        assert given <= there, name


def test_what_is_copied_is_sent_to_the_build() -> None:
    """Nothing else is, and it is there."""
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (DEPLOY / "Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sent = re.findall(r"^!(\S+)$", (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(" ".join(copied).split()) == set(sent)
    assert all((DEPLOY.parent / name).exists() for name in sent)


def test_there_is_time_to_drain() -> None:
    """Whoever stops the service waits longer than it may take to answer what it accepted."""
    pod = kubernetes("Deployment")["spec"]["template"]["spec"]
    waits = {
        "compose.yaml": parse_seconds(
            content("compose.yaml")["services"]["tailtune"]["stop_grace_period"], "stop_grace_period"
        ),
        "kubernetes.yaml": float(pod["terminationGracePeriodSeconds"]),
        "tailtune@.service": float(unit("TimeoutStopSec")),
    }
    for name, seconds in waits.items():
        line = command_lines()[name]
        drains = [line[at + 1] for at, word in enumerate(line) if word in ("--drain-delay", "--drain-seconds")]
        assert drains, name
        assert sum(parse_seconds(each, "drain") for each in drains) + 5 <= seconds, name


def test_little_is_allowed() -> None:
    """No root, no capability, nothing to write to, a key to ask."""
    compose, pod = content("compose.yaml")["services"]["tailtune"], container()["securityContext"]
    assert compose["read_only"] is True
    assert compose["cap_drop"] == pod["capabilities"]["drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    assert (pod["readOnlyRootFilesystem"], pod["allowPrivilegeEscalation"]) == (True, False)
    assert kubernetes("Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", (DEPLOY / "Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert all("--api-key-file" in line for line in command_lines().values())


def test_it_starts_and_its_health_is_told(tmp_path: Path, tiny_llama: Path) -> None:
    """With the flags of the manifest, and no home, the health checks of the containers pass until it ends."""
    keys = tmp_path / "keys"
    keys.write_text("0123456789abcdef0123456789abcdef\n", encoding="utf-8")
    bundle = saved(tiny_llama, tmp_path / "bundle")
    given = {"/bundle": str(bundle), "/run/secrets/tailtune/keys": str(keys), "0.0.0.0": "127.0.0.1", "5s": "0.1s"}
    flags = [given.get(word, word) for word in command_lines()["kubernetes.yaml"][1:]]
    with serving(bundle, *flags, log=tmp_path / "log", env={"TAILTUNE_HOME": "/nonexistent"}) as process:
        for check in health_checks():
            at_port = [word.replace(":8000", f":{process.port}") for word in check[1:]]
            assert subprocess.run([sys.executable, *at_port], check=False).returncode == 0
        probes = [container()[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]
        assert set(probes) == {"/ready", "/health"}
    assert not Path("/nonexistent").exists()
    gone = subprocess.run([sys.executable, *at_port], capture_output=True, check=False)
    assert gone.returncode != 0


def health_checks() -> list[list[str]]:
    """The commands by which Docker and Compose ask whether it is ready."""
    found = re.search(r"^    CMD (\[.*\])$", (DEPLOY / "Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    own: list[str] = json.loads(found[1])
    return [own, content("compose.yaml")["services"]["tailtune"]["healthcheck"]["test"][1:]]
