"""Where models lie: bundles named by what is in them, and which of them serves.

    <folder>/<task>/<hash>/{model.onnx, manifest.json, card.md, golden.npz, …}
    <folder>/<task>/<hash>.sig      who signed it (models/signing.py)
    <folder>/<task>/CURRENT         the hash that was released last and stands
    <folder>/<task>/journal.jsonl   every change of CURRENT and what became of it, append-only

A bundle's hash is SHA-256 over the names and contents of all its files: it cannot change and keep its name, and two
machines agree on what "the model" is. It is checked whenever a bundle is opened, and each file again when it is read.
``CURRENT`` is replaced atomically and is the truth; the journal tells how it came to be. Should the two differ (a
crash between them, or a hand), the next change first writes down what it found.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from models.engine import Array, InputRefused, checked_rows
from models.signing import Signature, SigningKey, Trust
from models.spec import CARD_FILE, GOLDEN_FILE, MANIFEST_FILE, ONNX_FILE, Manifest, ManifestRefused, decoded
from vitals.clock import Clock, SystemClock
from vitals.errors import WardwatchError
from vitals.findings import Task

CURRENT_FILE: Final = "CURRENT"
JOURNAL_FILE: Final = "journal.jsonl"
SIGNATURE_SUFFIX: Final = ".sig"
_LOCK_FILE: Final = ".lock"
_REQUIRED: Final = (MANIFEST_FILE, CARD_FILE, ONNX_FILE, GOLDEN_FILE)
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_GOLDEN_INPUT: Final = "input."
_GOLDEN_OUTPUT: Final = "output."
_MAX_FILE_BYTES: Final = 1 << 30

_log = logging.getLogger(__name__)


class RegistryError(WardwatchError):
    """Root of what the registry can say."""


class BundleRefused(RegistryError):
    """The folder is not a bundle this build may serve: altered, incomplete, or not what its manifest says."""


class BundleUntrusted(BundleRefused):
    """The bundle is whole, and nobody who is trusted here vouches for it."""


class NoSuchBundle(RegistryError):
    """The registry does not hold that bundle, or nothing to go back to."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One model, checked. ``golden_inputs``, ``golden_outputs``: example rows and the reference's answers to them."""

    task: Task
    hash: str
    folder: Path
    manifest: Manifest
    golden_inputs: dict[str, Array] = field(repr=False)
    golden_outputs: dict[str, Array] = field(repr=False)
    file_hashes: dict[str, str] = field(repr=False)

    @property
    def short(self) -> str:
        """The first 12 characters of the hash, for people."""
        return self.hash[:12]

    def read(self, name: str) -> bytes:
        """The bytes of one file, which are those that were hashed. Raises ``NoSuchBundle``, ``BundleRefused``."""
        if name not in self.file_hashes:
            raise NoSuchBundle(f"bundle {self.short} has no {name}")
        content = _content(self.folder / name)
        if hashlib.sha256(content).hexdigest() != self.file_hashes[name]:
            raise BundleRefused(f"{name} of bundle {self.short} was altered while in use")
        return content


Action = Literal["seed", "found", "promote", "rollback", "proven", "reject", "challenge", "withdraw"]
_CHANGES: Final = frozenset({"seed", "found", "promote", "rollback"})
"""What says what CURRENT became; the others say something of a bundle."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the journal. ``seed``: came with the program; ``found``: CURRENT was so, and no line says why;
    ``proven``: served through its probation; ``reject``: given up when another was CURRENT already, and nothing to go
    back to; ``challenge``, ``withdraw``: scored beside CURRENT from now on, no longer.

    ``previous``: SHA-256 of the line before it, so that none can be changed or left out unseen; empty for the first.
    """

    when_us: int
    action: Action
    bundle: str
    previous: str = ""
    why: str = ""


class Registry:
    """One folder of bundles. Reading needs no lock; changes of one task take turns, across processes too.

    ``trust``: whose bundles may be got from here and promoted; without it everybody's.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, trust: Trust | None = None) -> None:
        self.folder = folder
        self._clock = clock if clock is not None else SystemClock()
        self._trust = trust if trust is not None else Trust()

    @classmethod
    def seeded(cls, folder: Path, bundles: Path, clock: Clock | None = None, trust: Trust | None = None) -> Registry:
        """The registry in ``folder``, holding at least what came with the program in ``bundles``.

        What the program brings becomes CURRENT as long as nobody has promoted or rolled back here. A damaged bundle is
        left out, and logged: it must not keep the other tasks from being watched.
        """
        shipped = cls(bundles)
        program = (bundle_hash for task in Task for bundle_hash in shipped.bundles(task))
        registry = cls(folder, clock, (trust if trust is not None else Trust()).with_program(program))
        for task in Task:
            for bundle_hash in shipped.bundles(task):
                if not registry._folder_of(task, bundle_hash).exists():
                    with _left_out_if_damaged(task):
                        registry.add(shipped.get(task, bundle_hash).folder)
            with _left_out_if_damaged(task):
                current = _read_current(bundles / task)
                if current is not None:
                    registry._seed(task, current)
        return registry

    def current(self, task: Task) -> Bundle | None:
        """The bundle that serves ``task``, None when there is none. Raises ``RegistryError``."""
        current = _read_current(self.folder / task)
        return None if current is None else self.get(task, current)

    def get(self, task: Task, bundle_hash: str) -> Bundle:
        """The bundle of that hash, checked, and vouched for. Raises ``NoSuchBundle``, ``BundleRefused``."""
        bundle = self._whole(task, bundle_hash)
        why = self._trust.objection(bundle.hash, self._signature(task, bundle_hash))
        if why:
            raise BundleUntrusted(f"bundle {bundle.short}: {why}")
        return bundle

    def bundles(self, task: Task) -> list[str]:
        """The hashes of all bundles of ``task``, sorted."""
        folder = self.folder / task
        return sorted(p.name for p in folder.iterdir() if _HASH.fullmatch(p.name)) if folder.is_dir() else []

    def standing(self, task: Task) -> list[str]:
        """What served, and would again by one rollback after the other: oldest first, what serves now last."""
        return _standing(self.history(task))

    def remove(self, task: Task, bundle_hash: str) -> None:
        """Removes a bundle that does not serve. Raises ``RegistryError`` for one that does."""
        folder = self._folder_of(task, bundle_hash)
        with self._turn(task):
            if _read_current(self.folder / task) == bundle_hash:
                raise RegistryError(f"bundle {bundle_hash[:12]} of {task} serves: it is not removed")
            if folder.exists():
                away = folder.with_name(f".removing-{bundle_hash}")  # whoever looks finds all of it or nothing
                folder.rename(away)
                shutil.rmtree(away)
                self._signature_file(task, bundle_hash).unlink(missing_ok=True)

    def add(self, folder: Path) -> Bundle:
        """Takes a copy of the bundle in ``folder``; a second time changes nothing. Raises ``BundleRefused``."""
        bundle = opened(folder)
        target = self._folder_of(bundle.task, bundle.hash)
        if target.exists():
            return self._whole(bundle.task, bundle.hash)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=target.parent))
        try:
            for name in bundle.file_hashes:
                _write(staging / name, bundle.read(name))
            staging.chmod(0o755)
            # Another process may be first. Then its folder, of the same content, is as good as ours.
            with contextlib.suppress(OSError):
                staging.rename(target)
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return self._whole(bundle.task, bundle.hash)

    def sign(self, task: Task, bundle_hash: str, key: SigningKey) -> None:
        """Puts the signature of ``key`` beside that bundle, in place of an earlier one. Raises ``RegistryError``."""
        bundle = self._whole(task, bundle_hash)
        path = self._signature_file(task, bundle.hash)
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        _write(staged, msgspec.json.encode(key.signed(bundle.hash)) + b"\n")
        staged.replace(path)
        _sync_folder(path.parent)

    def promote(self, task: Task, bundle_hash: str) -> Bundle:
        """Makes that bundle CURRENT; promoting what serves already changes nothing. Raises ``RegistryError``."""
        bundle = self.get(task, bundle_hash)
        with self._turn(task):
            if _read_current(self.folder / task) != bundle_hash:
                self._note_what_is_found(task)
                self._change(task, "promote", bundle_hash)
        return bundle

    def rollback(self, task: Task, *, of: str = "", why: str = "") -> Bundle:
        """Makes CURRENT what it was before the last promotion that stands; what serves then. Raises ``NoSuchBundle``.

        ``of``: only as long as CURRENT is this one (of many workers that give up a release one is the first); else it
        is only left out when a later release is rolled back.
        """
        with self._turn(task):
            self._note_what_is_found(task)
            current = _read_current(self.folder / task)
            standing = _standing(self.history(task))
            if of and current is not None and current != of:
                if of in standing:
                    self._journal(task, "reject", of, why)
                return self.get(task, current)
            if len(standing) < 2:
                raise NoSuchBundle(f"{task} has no earlier bundle to go back to")
            bundle = self.get(task, standing[-2])
            self._change(task, "rollback", bundle.hash, why)
        return bundle

    def prove(self, task: Task, bundle_hash: str) -> None:
        """Notes that a release served through its probation; once, and only while it is CURRENT."""
        with self._turn(task):
            if _read_current(self.folder / task) == bundle_hash and self.predecessor(task):
                self._journal(task, "proven", bundle_hash)

    def predecessor(self, task: Task) -> str:
        """The hash of what serves until CURRENT is proven; empty when it is, or came with the program."""
        history = self.history(task)
        changes = _changes(history)
        if not changes or changes[-1].action != "promote" or changes[-1].bundle != _read_current(self.folder / task):
            return ""
        last = next(entry for entry in reversed(history) if entry.action == "proven" or entry.action in _CHANGES)
        standing = _standing(history)
        return standing[-2] if last.action == "promote" and len(standing) >= 2 else ""

    def challenge(self, task: Task, bundle_hash: str) -> Bundle:
        """Has that bundle scored beside CURRENT until it is withdrawn or promoted. Raises ``RegistryError``."""
        bundle = self.get(task, bundle_hash)
        with self._turn(task):
            if _challenger(self.history(task)) != bundle_hash:
                self._journal(task, "challenge", bundle_hash)
        return bundle

    def withdraw(self, task: Task, *, of: str = "", why: str = "") -> None:
        """Calls the challenger off, or only ``of``; nothing where there is none."""
        with self._turn(task):
            challenger = _challenger(self.history(task))
            if challenger and of in ("", challenger):
                self._journal(task, "withdraw", challenger, why)

    def challenger(self, task: Task) -> Bundle | None:
        """What is scored beside CURRENT, None for nothing. Raises ``RegistryError``."""
        challenger = _challenger(self.history(task))
        return self.get(task, challenger) if challenger else None

    def history(self, task: Task) -> list[Entry]:
        """Every change of CURRENT, oldest first. A last line cut short by a crash is left out."""
        path = self.folder / task / JOURNAL_FILE
        try:
            return [msgspec.json.decode(line, type=Entry) for line in _whole_lines(path)]
        except msgspec.DecodeError as error:
            raise RegistryError(f"{JOURNAL_FILE} of {task}: {error}") from None

    def journal_breaks(self, task: Task) -> list[int]:
        """Lines of the journal, from 1 on, whose ``previous`` is not the line before: that was changed or left out.

        Raises ``RegistryError`` for a line that is none.
        """
        lines = _whole_lines(self.folder / task / JOURNAL_FILE)
        breaks, chained = [], False
        for number, (entry, before) in enumerate(zip(self.history(task), [b"", *lines], strict=False), 1):
            chained = chained or bool(entry.previous)  # journals began without
            if chained and entry.previous != _line_hash(before):
                breaks.append(number)
        return breaks

    def _folder_of(self, task: Task, bundle_hash: str) -> Path:
        if not _HASH.fullmatch(bundle_hash):
            raise NoSuchBundle("a bundle is named by 64 hexadecimal digits")
        return self.folder / task / bundle_hash

    def _whole(self, task: Task, bundle_hash: str) -> Bundle:
        folder = self._folder_of(task, bundle_hash)
        if not folder.is_dir():
            raise NoSuchBundle(f"no bundle {bundle_hash[:12]} for {task}")
        bundle = opened(folder)
        if bundle.hash != bundle_hash or bundle.task is not task:
            raise BundleRefused(f"bundle {bundle_hash[:12]} of {task} is not what its name says")
        return bundle

    def _signature_file(self, task: Task, bundle_hash: str) -> Path:
        return self._folder_of(task, bundle_hash).with_name(bundle_hash + SIGNATURE_SUFFIX)

    def _signature(self, task: Task, bundle_hash: str) -> Signature | None:
        try:
            return msgspec.json.decode(self._signature_file(task, bundle_hash).read_bytes(), type=Signature)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            raise BundleUntrusted(f"signature of bundle {bundle_hash[:12]}: {type(error).__name__}") from None

    def _seed(self, task: Task, bundle_hash: str) -> None:
        with self._turn(task):
            chosen_here = any(entry.action in ("promote", "rollback") for entry in self.history(task))
            current = _read_current(self.folder / task)
            if current != bundle_hash and not chosen_here:
                self.get(task, bundle_hash)
                self._change(task, "seed", bundle_hash)

    def _note_what_is_found(self, task: Task) -> None:
        current = _read_current(self.folder / task)
        changes = _changes(self.history(task))
        if current is not None and (not changes or changes[-1].bundle != current):
            self._journal(task, "found", current)

    def _change(
        self, task: Task, action: Literal["seed", "promote", "rollback"], bundle_hash: str, why: str = ""
    ) -> None:
        folder = self.folder / task
        staged = folder / f".{CURRENT_FILE}.{os.getpid()}"
        _write(staged, bundle_hash.encode() + b"\n")
        staged.replace(folder / CURRENT_FILE)
        _sync_folder(folder)
        self._journal(task, action, bundle_hash, why)

    def _journal(self, task: Task, action: Action, bundle_hash: str, why: str = "") -> None:
        path = self.folder / task / JOURNAL_FILE
        with path.open("ab+") as file:
            _cut_to_whole_lines(file)
            before = (_whole_lines(path) or [b""])[-1]
            entry = Entry(
                when_us=self._clock.now_us(),
                action=action,
                bundle=bundle_hash,
                previous=_line_hash(before),
                why=why,
            )
            file.write(msgspec.json.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _turn(self, task: Task) -> Iterator[None]:
        folder = self.folder / task
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK_FILE).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _left_out_if_damaged(task: Task) -> Iterator[None]:
    try:
        yield
    except (RegistryError, ManifestRefused) as error:
        _log.error("what the program brings for %s is not used: %s", task, error)


def opened(folder: Path) -> Bundle:
    """The bundle in ``folder``, read and checked whole. Raises ``BundleRefused``, ``ManifestRefused``."""
    contents = _contents(folder)
    missing = [name for name in _REQUIRED if name not in contents]
    if missing:
        raise BundleRefused(f"a bundle without {', '.join(missing)}")
    manifest = decoded(contents[MANIFEST_FILE])
    inputs, outputs = _golden(contents[GOLDEN_FILE], manifest)
    file_hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Bundle(manifest.task, content_hash(file_hashes), folder, manifest, inputs, outputs, file_hashes)


def content_hash(file_hashes: dict[str, str]) -> str:
    """SHA-256 over the sorted lines "<sha256 of the file>  <name>", as ``sha256sum`` prints them."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(file_hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def golden_bytes(inputs: dict[str, Array], outputs: dict[str, Array]) -> bytes:
    """``golden.npz``: example rows and the reference's answers to them."""
    buffer = io.BytesIO()
    named = {_GOLDEN_INPUT + k: v for k, v in inputs.items()} | {_GOLDEN_OUTPUT + k: v for k, v in outputs.items()}
    np.savez_compressed(buffer, allow_pickle=False, **named)
    return buffer.getvalue()


def _golden(content: bytes, manifest: Manifest) -> tuple[dict[str, Array], dict[str, Array]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays: dict[str, Array] = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BundleRefused(f"{GOLDEN_FILE}: {error}") from None
    inputs = {k.removeprefix(_GOLDEN_INPUT): v for k, v in arrays.items() if k.startswith(_GOLDEN_INPUT)}
    outputs = {k.removeprefix(_GOLDEN_OUTPUT): v for k, v in arrays.items() if k.startswith(_GOLDEN_OUTPUT)}
    try:
        rows = checked_rows(manifest.inputs, inputs)
        if checked_rows(manifest.outputs, outputs) != rows:
            raise BundleRefused(f"{GOLDEN_FILE}: as many answers as examples")
    except InputRefused as error:
        raise BundleRefused(f"{GOLDEN_FILE}: {error}") from None
    return inputs, outputs


def _contents(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir() or folder.is_symlink():
        raise BundleRefused("a bundle is a folder")
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise BundleRefused(f"the bundle cannot be read: {error.strerror}") from None
    contents = {}
    for path in paths:
        if path.is_symlink() or not path.is_file() or not _FILE_NAME.fullmatch(path.name):
            raise BundleRefused("a bundle holds plain files only, with plain names")
        contents[path.name] = _content(path)
    return contents


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise BundleRefused(f"{path.name} is above {_MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleRefused(f"{path.name}: {error.strerror}") from None


def _read_current(folder: Path) -> str | None:
    try:
        text = (folder / CURRENT_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{CURRENT_FILE} cannot be read: {type(error).__name__}") from None
    if not _HASH.fullmatch(text):
        raise RegistryError(f"{CURRENT_FILE} does not hold a bundle's hash")
    return text


def _changes(history: list[Entry]) -> list[Entry]:
    return [entry for entry in history if entry.action in _CHANGES]


def _challenger(history: list[Entry]) -> str:
    """The bundle that was called and neither withdrawn nor promoted since."""
    challenger = ""
    for entry in history:
        if entry.action == "challenge":
            challenger = entry.bundle
        elif entry.action != "proven" and entry.bundle == challenger:
            challenger = ""
    return challenger


def _standing(history: list[Entry]) -> list[str]:
    """The bundles that a rollback walks back through, the one that serves last."""
    standing: list[str] = []
    for entry in history:
        if entry.action == "reject":
            standing = [bundle for bundle, _ in groupby(bundle for bundle in standing if bundle != entry.bundle)]
        elif entry.action not in _CHANGES:
            continue
        elif entry.action == "rollback" or (entry.action == "found" and standing[-2:-1] == [entry.bundle]):
            del standing[-1:]
        elif standing[-1:] != [entry.bundle]:
            standing.append(entry.bundle)
    return standing


def _whole_lines(journal: Path) -> list[bytes]:
    """Its lines; a last one cut short by a crash is left out."""
    return [line for line in journal.read_bytes().split(b"\n")[:-1] if line] if journal.exists() else []


def _line_hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else ""


def _cut_to_whole_lines(file: io.BufferedRandom) -> None:
    content_end = file.seek(0, os.SEEK_END)
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    if whole != content_end:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
