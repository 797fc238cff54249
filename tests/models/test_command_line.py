from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.__main__ import main
from models.registry import Bundle, Registry
from stream.broker import JavaNode
from tests.support.bundles import made_bundle
from tests.support.topics import read_all
from vitals import codec
from vitals.events import RELEASES_TOPIC, ModelRelease
from vitals.findings import Task

_SERVING = (
    "models.engine models.registry models.spec models.calibration models.parity models.plans models.build "
    "models.explain models.engines.onnx models.engines.ladder models.engines.tensorrt"
)


def test_what_serves_imports_no_training_framework() -> None:
    program = (
        "import sys, importlib\n"
        f"for name in {_SERVING.split()!r}: importlib.import_module(name)\n"
        "print(sorted({'torch', 'onnx', 'tensorrt', 'cuda', 'safetensors', 'kafka'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.torch
def test_inspect_shows_what_a_person_wants_to_know(
    bundles: dict[Task, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundles[Task.GLUCOSE]
    assert main(["inspect", str(bundle.folder), "--plans", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert bundle.hash in told
    assert "float32[n, 48, 2]  100 mg/dL" in told
    assert "macro_f1" in told
    assert "onnx-cpu   1 rows:" in told
    assert "tensorrt   not run:" in told


@pytest.mark.torch
def test_parity_tells_every_rung_and_fails_for_an_altered_network(
    bundles: dict[Task, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", str(bundles[Task.ECG_BEAT].folder), "--plans", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "onnx-cpu against golden" in told
    assert "torch against golden" in told
    assert "onnx-cuda: not run:" in told
    altered = tmp_path / "altered"
    altered.mkdir()
    other = made_bundle(Task.ECG_BEAT, tmp_path / "other", seed=5)
    for name in other.file_hashes:
        source = bundles[Task.ECG_BEAT] if name == "golden.npz" else other
        (altered / name).write_bytes(source.read(name))
    assert main(["parity", str(altered), "--plans", str(tmp_path)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.torch
def test_promote_and_rollback_by_hand(
    bundles: dict[Task, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(tmp_path / "registry")
    one = registry.add(bundles[Task.PNEUMONIA].folder)
    two = registry.add(made_bundle(Task.PNEUMONIA, tmp_path / "two", seed=9).folder)
    where = ["--registry", str(registry.folder)]
    assert main([*where, "promote", "pneumonia", one.hash[:10]]) == 0
    assert main([*where, "promote", "pneumonia", two.hash]) == 0
    assert main([*where, "rollback", "pneumonia"]) == 0
    assert capsys.readouterr().out.split()[-1] == one.hash
    current = registry.current(Task.PNEUMONIA)
    assert current is not None
    assert current.hash == one.hash
    assert main([*where, "challenge", "pneumonia", two.hash[:10]]) == 0
    challenger = registry.challenger(Task.PNEUMONIA)
    assert challenger is not None
    assert challenger.hash == two.hash
    assert main([*where, "withdraw", "pneumonia", "--report", "enough seen"]) == 0
    assert registry.challenger(Task.PNEUMONIA) is None
    assert registry.history(Task.PNEUMONIA)[-1].why == "enough seen"
    assert main([*where, "withdraw", "pneumonia"]) == 1
    assert main([*where, "promote", "pneumonia", ""]) == 1
    assert main([*where, "promote", "pneumonia", "f" * 64]) == 1


@pytest.mark.torch
@pytest.mark.parametrize("command", [["inspect", "no-such-task"], ["inspect", "ecg-rhythm"], ["rollback", "glucose"]])
def test_what_cannot_be_done_is_said_in_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "registry").mkdir()
    assert main(["--registry", str(tmp_path / "registry"), *command]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.torch
def test_build_without_tensorrt_says_so(
    bundles: dict[Task, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        import tensorrt  # noqa: F401, PLC0415
    except ImportError:
        assert main(["build", str(bundles[Task.ECG_BEAT].folder), "--plans", str(tmp_path)]) == 1
        assert "no plan: not installed" in capsys.readouterr().err
    else:
        pytest.skip("not run: TensorRT is installed here")


@pytest.mark.broker
@pytest.mark.torch
def test_a_promotion_is_said_to_the_workers(
    bundles: dict[Task, Bundle], broker: JavaNode, kafka_topics: str, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    bundle = registry.add(bundles[Task.PNEUMONIA].folder)
    told = ["--kafka", kafka_topics, "--report", "on a colleague's word"]
    assert main(["--registry", str(registry.folder), "promote", "pneumonia", bundle.hash[:12], *told]) == 0
    (record,) = read_all(kafka_topics, RELEASES_TOPIC)
    assert record.key == b"pneumonia"
    release = codec.decode(ModelRelease, record.value)
    assert (release.action, release.bundle, release.report) == ("promote", bundle.hash, "on a colleague's word")
    assert release.uri == registry.folder.resolve().as_uri()


@pytest.mark.torch
def test_no_broker_is_an_error_of_the_command(
    bundles: dict[Task, Bundle],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.announce._DEADLINE_S", 0.5)
    registry = Registry(tmp_path / "registry")
    bundle = registry.add(bundles[Task.PNEUMONIA].folder)
    nobody = ["--kafka", "127.0.0.1:1"]
    assert main(["--registry", str(registry.folder), "promote", "pneumonia", bundle.hash, *nobody]) == 1
    assert "releases.v1 did not take the release" in capsys.readouterr().err
