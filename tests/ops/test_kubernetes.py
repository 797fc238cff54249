"""What `kubectl apply -k` would send: valid, confined, and about settings, ports and topics that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stream import config
from stream.config import TABLE
from stream.health import Health
from stream.httpserver import probe_routes
from stream.metrics import Metrics
from stream.topics import PARTITIONS
from tests.support.deployed import ROOT, manifest, manifests, pod_of
from vitals.clock import ManualClock

FOLDERS = ("base", "overlays/cpu", "overlays/gpu")
WORKLOADS = (
    ("StatefulSet", "worker"),
    ("CronJob", "trainer"),
    ("Deployment", "self-test"),
    ("Deployment", "strips"),
)
VARIABLES = {row.variable for row in TABLE}


@pytest.mark.parametrize("version", ["1.29", "1.34"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_manifest_fits_the_schema_of_kubernetes(folder: str, version: str) -> None:
    found = manifests(folder)
    assert len(found) == 21
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    worker = manifest("base", "StatefulSet", "worker")
    worker["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(worker, "1.34", strict=True)


def test_the_settings_are_settings_and_a_worker_starts_with_them() -> None:
    told = manifest("base", "ConfigMap", "settings")["data"]
    assert set(told) <= VARIABLES
    settings = config.read({**told, "WARDWATCH_WORKER_ID": "worker-0"})
    assert (settings.worker_id, settings.http_port) == ("worker-0", 8080)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_every_variable_of_ours_is_one_that_is_read(folder: str, kind: str, name: str) -> None:
    pod = pod_of(manifest(folder, kind, name))["spec"]
    variables = {entry["name"] for container in _containers(pod) for entry in container.get("env", ())}
    assert variables
    assert variables <= VARIABLES | {"WARDWATCH_DATA"}
    assert pod["enableServiceLinks"] is False, "WARDWATCH_PORT and its like would be refused as unknown settings"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_worker_is_a_static_member_by_the_name_of_its_pod(folder: str) -> None:
    worker = manifest(folder, "StatefulSet", "worker")
    (container,) = pod_of(worker)["spec"]["containers"]
    (named,) = (entry for entry in container["env"] if entry["name"] == "WARDWATCH_WORKER_ID")
    assert named["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert worker["spec"]["serviceName"] == "worker"
    assert worker["spec"]["replicas"] <= PARTITIONS


def test_the_probes_ask_what_a_worker_serves_on_the_port_it_is_told() -> None:
    served = {route.path for route in probe_routes(Metrics().registry, Health(ManualClock(), 30.0))}
    (container,) = pod_of(manifest("base", "StatefulSet", "worker"))["spec"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) == manifest("base", "ConfigMap", "settings")["data"]["WARDWATCH_HTTP_PORT"]
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    assert {get["path"] for get in asked.values()} < served
    assert {get["port"] for get in asked.values()} == {port["name"]}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_a_pod_meets_the_restricted_standard_and_its_limits(folder: str, kind: str, name: str) -> None:
    pod = pod_of(manifest(folder, kind, name))["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not pod.get("hostNetwork")
    for container in _containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
    assert all("hostPath" not in volume for volume in pod["volumes"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_secret_stands_in_a_file(folder: str) -> None:
    assert not [m for m in manifests(folder) if m["kind"] == "Secret"]
    pod = pod_of(manifest(folder, "StatefulSet", "worker"))["spec"]
    for entry in (entry for container in _containers(pod) for entry in container.get("env", ())):
        if "SECRET" in entry["name"]:
            assert "secretKeyRef" in entry["valueFrom"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_selector_finds_its_pods(folder: str) -> None:
    labels = {name: pod_of(manifest(folder, kind, name))["metadata"]["labels"] for kind, name in WORKLOADS}
    selected = {
        "worker": [
            manifest(folder, "StatefulSet", "worker")["spec"]["selector"]["matchLabels"],
            manifest(folder, "Service", "worker")["spec"]["selector"],
            manifest(folder, "Service", "board")["spec"]["selector"],
            manifest(folder, "PodDisruptionBudget", "worker")["spec"]["selector"]["matchLabels"],
            manifest(folder, "NetworkPolicy", "worker")["spec"]["podSelector"]["matchLabels"],
        ],
        "trainer": [manifest(folder, "NetworkPolicy", "trainer")["spec"]["podSelector"]["matchLabels"]],
    }
    for name, selectors in selected.items():
        for selector in selectors:
            assert selector
            assert selector.items() <= labels[name].items()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_claim_and_volume_that_is_mounted_is_there(folder: str) -> None:
    claims = {m["metadata"]["name"] for m in manifests(folder) if m["kind"] == "PersistentVolumeClaim"}
    for kind, name in WORKLOADS:
        workload = manifest(folder, kind, name)
        pod = pod_of(workload)["spec"]
        own = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in pod["volumes"]} | own
        for container in _containers(pod):
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
        used = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
        assert used <= claims


def test_what_a_worker_writes_lies_where_it_may_write() -> None:
    told = manifest("base", "ConfigMap", "settings")["data"]
    (container,) = pod_of(manifest("base", "StatefulSet", "worker"))["spec"]["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {told["WARDWATCH_STATE"], told["WARDWATCH_REGISTRY"], "/tmp"} == mounted


def test_the_overlays_differ_in_engine_only() -> None:
    def gpus(folder: str) -> list[int]:
        pods = (pod_of(manifest(folder, kind, name))["spec"] for kind, name in WORKLOADS)
        return [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0) for pod in pods]

    def serving_image(folder: str) -> str:
        image: str = pod_of(manifest(folder, "StatefulSet", "worker"))["spec"]["containers"][0]["image"]
        return image

    assert gpus("overlays/cpu") == [0, 0, 0, 0]
    assert gpus("overlays/gpu") == [1, 1, 0, 0]
    assert serving_image("overlays/gpu") == f"{serving_image('overlays/cpu')}-gpu"
    for folder in ("overlays/cpu", "overlays/gpu"):
        for kind, name in WORKLOADS:
            for container in _containers(pod_of(manifest(folder, kind, name))["spec"]):
                assert ":" in container["image"], "an image without a tag is whatever was pushed last"


def test_the_service_monitor_gives_the_job_the_name_that_the_rules_speak_of() -> None:
    path = ROOT / "k8s" / "components" / "service-monitor" / "service-monitor.yaml"
    monitor = yaml.safe_load(path.read_text(encoding="utf-8"))
    service = manifest("base", "Service", "worker")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert "jobLabel" not in monitor["spec"], "then the job is called after the Service"
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {
        port["name"] for port in service["spec"]["ports"]
    }


def test_the_shadow_is_valid_confined_and_can_reach_nobody_but_the_broker() -> None:
    path = ROOT / "k8s" / "components" / "shadow" / "shadow.yaml"
    service, network, shadow = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for one in (service, network, shadow):
        kubernetes_validate.validate(one, "1.34", strict=True)
    template = pod_of(shadow)
    for selector in (service["spec"]["selector"], network["spec"]["podSelector"]["matchLabels"]):
        assert selector.items() <= template["metadata"]["labels"].items()
    assert "worker" not in template["metadata"]["labels"].values(), "no way in to the board, no job of the ward's rules"
    (container,) = template["spec"]["containers"]
    told = {entry["name"]: entry.get("value", "kafka:9092") for entry in container["env"]}
    assert config.read(told).role is config.Role.SHADOW
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {told["WARDWATCH_STATE"], str(Path(told["WARDWATCH_UNIT"]).parent), "/tmp"} == mounted
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    reached = [to["podSelector"] for rule in network["spec"]["egress"] for to in rule["to"] if "podSelector" in to]
    assert reached == [{"matchLabels": {"app.kubernetes.io/name": "kafka"}}]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]
