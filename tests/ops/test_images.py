"""The images and Compose: what is copied is here, what is named exists, serving carries no torch and no trainer."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stream import config
from stream.__main__ import COMMANDS
from stream.broker import node_settings
from stream.brokerjars import KAFKA_VERSION
from stream.config import TABLE
from tests.support.deployed import ROOT, compose, heredoc, instructions, stages

VARIABLES = {row.variable for row in TABLE}
SERVICES = {
    "kafka", "topics", "worker", "shadow", "trainer", "self-test", "strips", "prometheus", "alertmanager", "grafana"
}  # fmt: skip
OURS = {
    "topics": "serving", "worker": "serving", "shadow": "serving", "trainer": "trainer", "self-test": "serving",
    "strips": "serving",
}  # fmt: skip


def _copied(stage: str) -> set[str]:
    """Sources that ``stage`` takes from this folder."""
    return {
        source.rstrip("/")
        for words in instructions(stage)
        if words[0] == "COPY" and not words[1].startswith(("--from=", "<<"))
        for source in words[1:-1]
    }


def _requirements(tmp_path: Path, *extras: str) -> list[str]:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "list.py").write_text(heredoc("list.py"), encoding="utf-8")
    listed = subprocess.run(
        [sys.executable, "list.py", *extras], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    return listed.stdout.split()


def test_there_are_two_images_and_neither_runs_as_root() -> None:
    assert {"serving", "trainer"} <= stages().keys()
    for stage in ("serving", "trainer"):
        (user,) = (words[1] for words in instructions(stage) if words[0] == "USER")
        assert user == "10001:10001"


def test_what_is_copied_is_here_and_is_sent_to_the_engine() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = set().union(*map(_copied, stages()))
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_each_image_carries_only_what_it_runs() -> None:
    assert _copied("serving") - {"pyproject.toml", "constraints.txt"} == {"vitals", "models", "stream"}
    assert _copied("trainer") - {"pyproject.toml", "constraints.txt"} == {"vitals", "models", "trainer"}


def test_the_serving_image_installs_no_training_framework_and_everything_is_pinned(tmp_path: Path) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-").split()
    pinned = {pin.partition("==")[0] for pin in pins}
    serving, gpu = _requirements(tmp_path), _requirements(tmp_path, "tensorrt")
    trainer = _requirements(tmp_path, "trainer")
    assert not {"torch", "onnx", "onnxscript"} & set(serving) | {"torch", "onnx", "onnxscript"} & set(gpu)
    assert "tensorrt" in gpu
    assert "torch" in trainer
    assert {name.lower().replace("_", "-") for name in {*serving, *gpu, *trainer}} <= pinned
    installs = [words for stage in stages() for words in stages()[stage][1] if "install" in words and "pip" in words]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in " ".join(words) for words in installs)


def test_the_worker_loads_from_what_its_image_carries_alone(tmp_path: Path) -> None:
    for name in ("vitals", "models", "stream"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "bundles"))
    without = "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'sklearn', 'matplotlib', 'trainer']))"
    load = "import stream.app, stream.score, stream.replay, stream.notify.webhook, stream.notify.alertmanager"
    argv = [sys.executable, "-c", f"{without}; {load}; print(stream.app.__file__)"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


def test_compose_has_the_services_and_each_says_how_it_is() -> None:
    services = compose()["services"]
    assert services.keys() == SERVICES
    for name, service in services.items():
        if name in {"topics", "trainer", "self-test"}:  # they serve nothing: they end
            assert service["healthcheck"] == {"disable": True}
        else:
            assert service["healthcheck"]["test"]


def test_images_of_others_are_pinned_and_kafka_is_the_version_of_the_tests() -> None:
    services = compose()["services"]
    for name in SERVICES - OURS.keys():
        assert re.search(r":v?\d+\.\d+\.\d+$", services[name]["image"]), name
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    for name, target in OURS.items():
        assert services[name]["build"] == {"context": ".", "target": target}
        assert target in stages()


def test_every_setting_in_compose_is_one_and_a_worker_starts_with_them() -> None:
    services = compose()["services"]
    for name in ("topics", "worker", "shadow", "self-test", "strips"):
        told = services[name]["environment"]
        assert set(told) <= VARIABLES
        config.read({variable: "" if value.startswith("${") else value for variable, value in told.items()})
    assert not services["trainer"].get("environment"), "the trainer takes the folders of its image"


def test_nothing_is_open_beyond_this_machine_and_nothing_secret_is_written_down() -> None:
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for variable, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|TOKEN|KEY", variable):
                assert re.fullmatch(r"\$\{\w+:-\}", value), f"{variable} is written down"


def test_every_volume_is_declared_and_every_mounted_file_is_here() -> None:
    told = compose()
    named = set()
    for service in told["services"].values():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                named.add(source)
    assert named == told["volumes"].keys()


def test_every_service_that_another_speaks_of_is_there() -> None:
    services = compose()["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
    scraped = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text(encoding="utf-8"))
    names = {
        name
        for found in (*scraped["scrape_configs"], *scraped["alerting"]["alertmanagers"])
        for lookup in found["dns_sd_configs"]
        for name in lookup["names"]
    }
    assert names == {"worker", "shadow", "self-test", "strips", "trainer", "alertmanager"}
    assert names <= services.keys()
    receivers = re.findall(r"url: http://([\w-]+):", (ROOT / "monitoring" / "alertmanager.yml").read_text())
    assert {f"{name}:host-gateway" for name in receivers} == set(services["alertmanager"]["extra_hosts"])


def test_the_commands_are_commands() -> None:
    services = compose()["services"]
    ours = [services[name]["command"] for name in ("topics", "self-test", "strips")]
    ours.append(["python", "-m", "stream", "worker"])
    assert {command[3] for command in ours} <= set(COMMANDS)
    (serving,) = (words for words in stages()["serving"][1] if words[0] == "CMD")
    assert " ".join(serving) == 'CMD ["python", "-m", "stream", "worker"]'


def test_the_broker_of_compose_takes_the_messages_that_ours_takes() -> None:
    told = compose()["services"]["kafka"]["environment"]
    ours = node_settings(1, 2, bind="127.0.0.1", log_dir="/x")
    for name in ("message.max.bytes", "replica.fetch.max.bytes", "auto.create.topics.enable"):
        assert told[f"KAFKA_{name.upper().replace('.', '_')}"] == ours[name]
    listening = set(re.findall(r"(\w+)://", told["KAFKA_LISTENERS"]))
    assert listening == set(re.findall(r"(\w+):PLAINTEXT", told["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]))
    assert set(re.findall(r"(\w+)://", told["KAFKA_ADVERTISED_LISTENERS"])) == listening - {"CONTROLLER"}


def test_compose_itself_accepts_the_file() -> None:
    known = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], check=False, capture_output=True
    )
    if not known or known.returncode != 0:
        pytest.skip("not run: this docker client has no compose")
    argv = ["docker", "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
