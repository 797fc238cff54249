"""The deployment files as data: what kustomize builds, what Compose is told, what the Dockerfile says."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

_KUSTOMIZE_HINT = (
    "kubectl (1.27 or newer) and kustomize are missing: install one of them, "
    "for one: go install sigs.k8s.io/kustomize/kustomize/v5@v5.5.0"
)


@cache
def built(folder: str) -> str:
    """The manifests that ``k8s/folder`` gives, as YAML."""
    if shutil.which("kustomize"):
        argv = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        argv = ["kubectl", "kustomize"]
    else:
        pytest.fail(_KUSTOMIZE_HINT, pytrace=False)
    done = subprocess.run([*argv, str(ROOT / "k8s" / folder)], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        pytest.fail(done.stderr, pytrace=False)
    return done.stdout


def manifests(folder: str) -> list[dict[str, Any]]:
    """The same, as data."""
    return list(yaml.safe_load_all(built(folder)))


def manifest(folder: str, kind: str, name: str) -> dict[str, Any]:
    """The one manifest of that kind and name."""
    (found,) = (m for m in manifests(folder) if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    """The template of a workload's pods."""
    spec = workload["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    assert isinstance(template, dict)
    return template


def compose() -> dict[str, Any]:
    """docker-compose.yml, anchors and merges resolved."""
    told = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(told, dict)
    return told


@cache
def stages() -> dict[str, tuple[str, list[list[str]]]]:
    """Of the Dockerfile: stage → what it is from, and its instructions as words. Heredocs stay out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"<<'EOF'(.*)\n.*?\nEOF\n", r"<<EOF\1\n", text, flags=re.DOTALL)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found: dict[str, tuple[str, list[list[str]]]] = {}
    name = ""
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "FROM":
            _, base, _, name = words
            found[name] = (base, [])
        elif name:
            found[name][1].append(words)
    return found


def instructions(stage: str) -> list[list[str]]:
    """Everything that makes ``stage``, from the first stage it stands on."""
    base, own = stages()[stage]
    return [*(instructions(base) if base in stages() else []), *own]


def heredoc(name: str) -> str:
    """The file ``name`` that the Dockerfile writes."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (body,) = re.findall(rf"<<'EOF' {re.escape(name)}\n(.*?)\nEOF\n", text, flags=re.DOTALL)
    assert isinstance(body, str)
    return body
