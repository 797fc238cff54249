from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.registry import (
    CURRENT_FILE,
    JOURNAL_FILE,
    Bundle,
    BundleRefused,
    NoSuchBundle,
    Registry,
    RegistryError,
    content_hash,
    golden_bytes,
    opened,
)
from models.spec import CARD_FILE, GOLDEN_FILE, MANIFEST_FILE, ONNX_FILE, ManifestRefused, encoded
from tests.support.bundles import manifest_of, rows_of
from vitals.clock import ManualClock
from vitals.findings import Task

BREAST = Task.BREAST


def draft(folder: Path, content: str = "a network") -> Path:
    """A bundle of BREAST without a real network in it: the registry does not look inside."""
    folder.mkdir(parents=True)
    rows = rows_of(BREAST, 16)
    answers = {"logits": rows["image"][:, 0, 0, :2].copy()}
    (folder / MANIFEST_FILE).write_bytes(encoded(manifest_of(BREAST)))
    (folder / GOLDEN_FILE).write_bytes(golden_bytes(rows, answers))
    (folder / ONNX_FILE).write_text(content)
    (folder / CARD_FILE).write_text("# card")
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", ManualClock(7))


@pytest.fixture
def three(registry: Registry, tmp_path: Path) -> list[Bundle]:
    return [registry.add(draft(tmp_path / "drafts" / name, name)) for name in ("one", "two", "three")]


def actions(registry: Registry) -> list[tuple[str, str]]:
    return [(entry.action, entry.bundle) for entry in registry.history(BREAST)]


def test_a_bundle_that_was_added_is_found_under_its_hash_with_all_it_had(registry: Registry, tmp_path: Path) -> None:
    drafted = draft(tmp_path / "draft")
    added = registry.add(drafted)
    shutil.rmtree(drafted)
    again = registry.get(BREAST, added.hash)
    assert again.folder == registry.folder / "breast" / added.hash
    assert again.read(ONNX_FILE) == b"a network"
    assert again.manifest == manifest_of(BREAST)
    assert again.golden_inputs["image"].tobytes() == rows_of(BREAST, 16)["image"].tobytes()
    assert registry.current(BREAST) is None


def test_the_hash_is_of_names_and_contents_and_nothing_else(registry: Registry, tmp_path: Path) -> None:
    one = registry.add(draft(tmp_path / "one"))
    assert registry.add(draft(tmp_path / "same")).hash == one.hash
    assert registry.add(draft(tmp_path / "other", "another network")).hash != one.hash
    assert one.hash == content_hash(one.file_hashes)
    assert registry.bundles(BREAST) == sorted(registry.bundles(BREAST))
    assert len(registry.bundles(BREAST)) == 2


@pytest.mark.parametrize("name", [ONNX_FILE, CARD_FILE, GOLDEN_FILE, MANIFEST_FILE])
def test_one_changed_byte_in_any_file_refuses_the_bundle(name: str, registry: Registry, three: list[Bundle]) -> None:
    path = three[0].folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises((BundleRefused, ManifestRefused)):
        registry.get(BREAST, three[0].hash)


def test_a_file_altered_after_the_bundle_was_opened_is_not_served(three: list[Bundle]) -> None:
    (three[0].folder / ONNX_FILE).write_text("another")
    with pytest.raises(BundleRefused, match="altered while in use"):
        three[0].read(ONNX_FILE)


def test_an_added_or_missing_file_refuses_the_bundle(registry: Registry, three: list[Bundle]) -> None:
    (three[0].folder / "extra.txt").write_text("hello")
    (three[1].folder / CARD_FILE).unlink()
    for bundle in three[:2]:
        with pytest.raises(BundleRefused):
            registry.get(BREAST, bundle.hash)


def test_a_link_out_of_the_bundle_refuses_it(registry: Registry, tmp_path: Path) -> None:
    drafted = draft(tmp_path / "draft")
    (drafted / ONNX_FILE).unlink()
    (tmp_path / "secret").write_text("secret")
    (drafted / ONNX_FILE).symlink_to(tmp_path / "secret")
    with pytest.raises(BundleRefused, match="plain files"):
        registry.add(drafted)


def test_a_folder_in_a_bundle_refuses_it(registry: Registry, tmp_path: Path) -> None:
    (draft(tmp_path / "draft") / "sub").mkdir()
    with pytest.raises(BundleRefused, match="plain files"):
        registry.add(tmp_path / "draft")


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "", "A" * 64, "0" * 63, f"{'0' * 64}/.."])
def test_a_name_that_is_no_hash_never_becomes_a_path(name: str, registry: Registry) -> None:
    with pytest.raises(NoSuchBundle):
        registry.get(BREAST, name)
    with pytest.raises(NoSuchBundle):
        registry.promote(BREAST, name)


@pytest.mark.parametrize("text", ["../elsewhere", "", "zz", "\xff"])
def test_a_damaged_current_is_said_and_not_followed(text: str, registry: Registry, three: list[Bundle]) -> None:
    registry.promote(BREAST, three[0].hash)
    (registry.folder / "breast" / CURRENT_FILE).write_text(text, encoding="latin-1")
    with pytest.raises(RegistryError):
        registry.current(BREAST)


def test_pickled_objects_in_golden_rows_are_refused(tmp_path: Path) -> None:
    import numpy as np  # noqa: PLC0415

    drafted = draft(tmp_path / "draft")
    np.savez(drafted / GOLDEN_FILE, **{"input.image": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(BundleRefused, match=GOLDEN_FILE):
        opened(drafted)


def test_golden_rows_of_another_shape_than_the_manifest_says_are_refused(tmp_path: Path) -> None:
    drafted = draft(tmp_path / "draft")
    rows = rows_of(BREAST, 16)
    (drafted / GOLDEN_FILE).write_bytes(golden_bytes(rows, {"logits": rows["image"][:, 0, 0, :3].copy()}))
    with pytest.raises(BundleRefused, match=r"logits is float32\[16, 3\]"):
        opened(drafted)


def test_rollback_walks_back_one_promotion_at_a_time(registry: Registry, three: list[Bundle]) -> None:
    one, two, last = (bundle.hash for bundle in three)
    for bundle in (one, two, last):
        registry.promote(BREAST, bundle)
    assert registry.rollback(BREAST).hash == two
    assert registry.rollback(BREAST).hash == one
    with pytest.raises(NoSuchBundle, match="no earlier bundle"):
        registry.rollback(BREAST)
    current = registry.current(BREAST)
    assert current is not None
    assert current.hash == one
    registry.promote(BREAST, last)
    assert registry.rollback(BREAST).hash == one
    assert [action for action, _ in actions(registry)] == [*["promote"] * 3, *["rollback"] * 2, "promote", "rollback"]
    assert {entry.when_us for entry in registry.history(BREAST)} == {7}


def test_promoting_what_serves_already_is_no_change(registry: Registry, three: list[Bundle]) -> None:
    registry.promote(BREAST, three[0].hash)
    registry.promote(BREAST, three[0].hash)
    assert actions(registry) == [("promote", three[0].hash)]


def test_a_corrupt_bundle_is_not_promoted_and_what_serves_goes_on(registry: Registry, three: list[Bundle]) -> None:
    registry.promote(BREAST, three[0].hash)
    (three[1].folder / ONNX_FILE).write_text("broken")
    with pytest.raises(BundleRefused):
        registry.promote(BREAST, three[1].hash)
    current = registry.current(BREAST)
    assert current is not None
    assert current.hash == three[0].hash


def test_a_crash_between_current_and_journal_is_found_and_written_down(registry: Registry, three: list[Bundle]) -> None:
    one, two, last = (bundle.hash for bundle in three)
    registry.promote(BREAST, one)
    (registry.folder / "breast" / CURRENT_FILE).write_text(two)  # what a promotion does before it is killed
    assert registry.rollback(BREAST).hash == one
    assert actions(registry) == [("promote", one), ("found", two), ("rollback", one)]
    registry.promote(BREAST, last)
    (registry.folder / "breast" / CURRENT_FILE).write_text(one)  # what a rollback does before it is killed
    registry.promote(BREAST, two)
    assert registry.rollback(BREAST).hash == one


def test_a_journal_line_cut_short_by_a_crash_is_ignored_and_replaced(registry: Registry, three: list[Bundle]) -> None:
    registry.promote(BREAST, three[0].hash)
    journal = registry.folder / "breast" / JOURNAL_FILE
    with journal.open("ab") as file:
        file.write(b'{"when_us": 7, "acti')
    assert actions(registry) == [("promote", three[0].hash)]
    registry.promote(BREAST, three[1].hash)
    assert actions(registry) == [("promote", three[0].hash), ("promote", three[1].hash)]


def test_a_journal_as_it_was_written_is_a_chain(registry: Registry, three: list[Bundle]) -> None:
    for bundle in three:
        registry.promote(BREAST, bundle.hash)
    registry.rollback(BREAST)
    assert registry.journal_breaks(BREAST) == []
    assert registry.journal_breaks(Task.GLUCOSE) == []


@pytest.mark.parametrize("act", ["change", "leave out", "put in"])
def test_what_was_done_to_a_journal_afterwards_shows(registry: Registry, three: list[Bundle], act: str) -> None:
    for bundle in three:
        registry.promote(BREAST, bundle.hash)
    journal = registry.folder / "breast" / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    if act == "change":
        lines[1] = lines[1].replace(three[1].hash.encode(), three[0].hash.encode())
    elif act == "leave out":
        del lines[1]
    else:
        lines.insert(1, lines[1])
    journal.write_bytes(b"".join(lines))
    assert registry.journal_breaks(BREAST) == [2 if act == "leave out" else 3]


def test_a_journal_that_someone_broke_is_said(registry: Registry, three: list[Bundle]) -> None:
    registry.promote(BREAST, three[0].hash)
    (registry.folder / "breast" / JOURNAL_FILE).write_text("not json\n")
    with pytest.raises(RegistryError):
        registry.rollback(BREAST)


def test_two_processes_adding_the_same_bundle_both_get_it(registry: Registry, tmp_path: Path) -> None:
    drafted = draft(tmp_path / "draft")
    with ThreadPoolExecutor(8) as pool:
        hashes = {bundle.hash for bundle in pool.map(registry.add, [drafted] * 16)}
    assert len(hashes) == 1
    assert [path.name for path in (registry.folder / "breast").iterdir()] == list(hashes)


def test_promotions_at_the_same_time_take_turns(registry: Registry, three: list[Bundle]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda bundle: registry.promote(BREAST, bundle.hash), three * 8))
    current = registry.current(BREAST)
    assert current is not None
    assert registry.history(BREAST)[-1].bundle == current.hash


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """What a program brings: two bundles, the second serving."""
    source = Registry(tmp_path / "shipped", ManualClock(1))
    for name in ("old", "new"):
        source.promote(BREAST, source.add(draft(tmp_path / name, name)).hash)
    (source.folder / "breast" / JOURNAL_FILE).unlink()
    return source.folder


def test_a_new_installation_serves_what_the_program_brings(shipped: Path, tmp_path: Path) -> None:
    registry = Registry.seeded(tmp_path / "local", shipped, ManualClock(2))
    current = registry.current(BREAST)
    assert current is not None
    assert current.read(ONNX_FILE) == b"new"
    assert len(registry.bundles(BREAST)) == 2
    Registry.seeded(tmp_path / "local", shipped, ManualClock(3))
    assert actions(registry) == [("seed", current.hash)]


def test_what_was_promoted_here_outlives_an_upgrade_of_the_program(shipped: Path, tmp_path: Path) -> None:
    registry = Registry.seeded(tmp_path / "local", shipped)
    own = registry.promote(BREAST, registry.add(draft(tmp_path / "own", "own")).hash)
    upgrade = Registry(shipped)
    newer = upgrade.promote(BREAST, upgrade.add(draft(tmp_path / "newer", "newer")).hash)
    again = Registry.seeded(tmp_path / "local", shipped)
    current = again.current(BREAST)
    assert current is not None
    assert current.hash == own.hash
    assert newer.hash in again.bundles(BREAST)


def test_an_upgrade_is_taken_where_nobody_chose(shipped: Path, tmp_path: Path) -> None:
    Registry.seeded(tmp_path / "local", shipped)
    upgrade = Registry(shipped)
    newer = upgrade.promote(BREAST, upgrade.add(draft(tmp_path / "newer", "newer")).hash)
    current = Registry.seeded(tmp_path / "local", shipped).current(BREAST)
    assert current is not None
    assert current.hash == newer.hash


def test_many_workers_starting_at_once_seed_one_registry(shipped: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Registry.seeded(tmp_path / "local", shipped), range(8)))
    assert len({bundle.hash for registry in made if (bundle := registry.current(BREAST))}) == 1
    assert len(made[0].history(BREAST)) == 1


def test_a_damaged_bundle_of_the_program_is_left_out_and_logged(
    shipped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serving = (shipped / "breast" / CURRENT_FILE).read_text().strip()
    (shipped / "breast" / serving / ONNX_FILE).write_text("damaged")
    registry = Registry.seeded(tmp_path / "local", shipped)
    assert registry.current(BREAST) is None
    assert len(registry.bundles(BREAST)) == 1
    assert serving not in registry.bundles(BREAST)
    assert "what the program brings for breast is not used" in caplog.text


def test_a_registry_that_cannot_be_written_is_an_error_not_an_empty_registry(tmp_path: Path, shipped: Path) -> None:
    (tmp_path / "local").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=os.strerror(20)):
        Registry.seeded(tmp_path / "local", shipped)


def test_a_release_is_not_proven_before_a_worker_has_served_it_through(registry: Registry, three: list[Bundle]) -> None:
    one, two, _ = (bundle.hash for bundle in three)
    registry.promote(BREAST, one)
    assert registry.predecessor(BREAST) == ""  # the first one: there is nothing to go back to
    registry.promote(BREAST, two)
    assert registry.predecessor(BREAST) == one
    registry.prove(BREAST, one)  # a worker that is late
    assert registry.predecessor(BREAST) == one
    for _ in range(2):  # two workers
        registry.prove(BREAST, two)
    assert registry.predecessor(BREAST) == ""
    assert actions(registry) == [("promote", one), ("promote", two), ("proven", two)]
    registry.promote(BREAST, one)
    assert registry.predecessor(BREAST) == two


def test_what_is_rolled_back_to_is_proven(registry: Registry, three: list[Bundle]) -> None:
    for bundle in three:
        registry.promote(BREAST, bundle.hash)
    registry.rollback(BREAST)
    assert registry.predecessor(BREAST) == ""


def test_of_two_workers_that_give_a_release_up_one_rolls_back(registry: Registry, three: list[Bundle]) -> None:
    one, two, three_ = (bundle.hash for bundle in three)
    for bundle_hash in (one, two, three_):
        registry.promote(BREAST, bundle_hash)
    for _ in range(2):
        assert registry.rollback(BREAST, of=three_, why="it calls everything V").hash == two
    assert [(entry.action, entry.why) for entry in registry.history(BREAST)][3:] == [
        ("rollback", "it calls everything V")
    ]


def test_a_release_given_up_under_a_newer_one_is_never_gone_back_to(registry: Registry, three: list[Bundle]) -> None:
    one, two, three_ = (bundle.hash for bundle in three)
    for bundle_hash in (one, two, three_):
        registry.promote(BREAST, bundle_hash)
    assert registry.rollback(BREAST, of=two, why="too slow").hash == three_
    assert registry.predecessor(BREAST) == one
    assert registry.rollback(BREAST, of=three_).hash == one
    assert registry.journal_breaks(BREAST) == []


def test_a_challenger_stands_until_it_is_withdrawn_or_promoted(registry: Registry, three: list[Bundle]) -> None:
    one, two, three_ = (bundle.hash for bundle in three)
    registry.promote(BREAST, one)
    assert registry.challenger(BREAST) is None
    registry.challenge(BREAST, two)
    registry.challenge(BREAST, two)
    challenger = registry.challenger(BREAST)
    assert challenger is not None
    assert challenger.hash == two
    current = registry.current(BREAST)
    assert current is not None
    assert current.hash == one
    registry.withdraw(BREAST, of=three_)
    assert registry.challenger(BREAST) is not None
    registry.withdraw(BREAST)
    assert registry.challenger(BREAST) is None
    registry.challenge(BREAST, three_)
    registry.promote(BREAST, three_)
    assert registry.challenger(BREAST) is None
    assert [action for action, _ in actions(registry)] == ["promote", "challenge", "withdraw", "challenge", "promote"]
