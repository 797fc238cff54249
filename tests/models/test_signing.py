from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from models.__main__ import main
from models.registry import BundleUntrusted, Registry
from models.signing import PUBLIC_FILE, KeyRefused, Signature, SigningKey, Trust, keygen
from models.spec import ONNX_FILE
from tests.models.test_registry import draft
from vitals.clock import ManualClock
from vitals.findings import Task

BREAST = Task.BREAST
HASH = "ab" * 32


@pytest.fixture
def pair(tmp_path: Path) -> tuple[SigningKey, Trust]:
    private, public = keygen(tmp_path / "ours")
    return SigningKey.read(private), Trust.read(public)


@pytest.fixture
def strangers(tmp_path: Path) -> SigningKey:
    return SigningKey.read(keygen(tmp_path / "theirs")[0])


def test_what_a_trusted_key_signed_may_serve(pair: tuple[SigningKey, Trust]) -> None:
    key, trust = pair
    assert trust.objection(HASH, key.signed(HASH)) == ""


def test_a_signature_of_another_bundle_is_none_of_this_one(pair: tuple[SigningKey, Trust]) -> None:
    key, trust = pair
    assert "not of this bundle" in trust.objection("cd" * 32, key.signed(HASH))


def test_a_signature_of_a_stranger_does_not_count_even_under_a_trusted_name(
    pair: tuple[SigningKey, Trust], strangers: SigningKey
) -> None:
    key, trust = pair
    foreign = strangers.signed(HASH)
    assert "whom nobody here trusts" in trust.objection(HASH, foreign)
    claimed = msgspec.structs.replace(foreign, key=key.signed(HASH).key)
    assert "not of this bundle" in trust.objection(HASH, claimed)
    assert "not of this bundle" in trust.objection(HASH, Signature(claimed.key, "no hexadecimal digits"))


def test_several_keys_may_be_trusted_at_once(
    pair: tuple[SigningKey, Trust], strangers: SigningKey, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "ours" / PUBLIC_FILE).read_bytes() + (tmp_path / "theirs" / PUBLIC_FILE).read_bytes())
    trust = Trust.read(both)
    assert [trust.objection(HASH, key.signed(HASH)) for key in (pair[0], strangers)] == ["", ""]


def test_only_its_owner_can_read_a_new_private_key_and_it_is_never_overwritten(tmp_path: Path) -> None:
    private, _ = keygen(tmp_path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    with pytest.raises(KeyRefused, match="is there already"):
        keygen(tmp_path)
    assert private.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_keys_trusts_nobody_and_is_no_open_door(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "keys.pem").write_bytes(content)
    with pytest.raises(KeyRefused):
        Trust.read(tmp_path / "keys.pem")
    with pytest.raises(KeyRefused):
        Trust.read(tmp_path / "no such file")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "public.pem").write_bytes(other.public_key().public_bytes(pem, public))
    (tmp_path / "private.pem").write_bytes(
        other.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(KeyRefused):
        Trust.read(tmp_path / "public.pem")
    with pytest.raises(KeyRefused, match="not of Ed25519"):
        SigningKey.read(tmp_path / "private.pem")


def test_a_signed_bundle_is_got_and_keeps_its_name(pair: tuple[SigningKey, Trust], tmp_path: Path) -> None:
    key, trust = pair
    registry = Registry(tmp_path / "registry", ManualClock(1), trust)
    bundle = registry.add(draft(tmp_path / "draft"))
    with pytest.raises(BundleUntrusted, match="nobody signed it"):
        registry.promote(BREAST, bundle.hash)
    registry.sign(BREAST, bundle.hash, key)
    assert registry.promote(BREAST, bundle.hash).hash == bundle.hash
    assert registry.bundles(BREAST) == [bundle.hash]


def test_an_altered_bundle_cannot_hide_behind_the_signature_of_what_it_was(
    pair: tuple[SigningKey, Trust], tmp_path: Path
) -> None:
    key, trust = pair
    registry = Registry(tmp_path / "registry", trust=trust)
    good = registry.add(draft(tmp_path / "good"))
    registry.sign(BREAST, good.hash, key)
    evil = registry.add(draft(tmp_path / "evil", "another network"))
    signature = (registry.folder / "breast" / f"{good.hash}.sig").read_bytes()
    (registry.folder / "breast" / f"{evil.hash}.sig").write_bytes(signature)
    with pytest.raises(BundleUntrusted, match="not of this bundle"):
        registry.get(BREAST, evil.hash)


def test_a_foreign_or_broken_signature_is_refused_in_the_registry(
    pair: tuple[SigningKey, Trust], strangers: SigningKey, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry", trust=pair[1])
    bundle = registry.add(draft(tmp_path / "draft"))
    registry.sign(BREAST, bundle.hash, strangers)
    with pytest.raises(BundleUntrusted, match="whom nobody here trusts"):
        registry.get(BREAST, bundle.hash)
    (registry.folder / "breast" / f"{bundle.hash}.sig").write_text("{}")
    with pytest.raises(BundleUntrusted):
        registry.get(BREAST, bundle.hash)


def test_what_came_with_the_program_needs_no_signature(pair: tuple[SigningKey, Trust], tmp_path: Path) -> None:
    shipped = Registry(tmp_path / "shipped")
    shipped.promote(BREAST, shipped.add(draft(tmp_path / "draft")).hash)
    registry = Registry.seeded(tmp_path / "local", shipped.folder, trust=pair[1])
    current = registry.current(BREAST)
    assert current is not None
    (current.folder / ONNX_FILE).write_text("altered under the name of what was shipped")
    with pytest.raises(Exception, match="not what its name says"):
        registry.current(BREAST)


def test_without_trusted_keys_the_hash_alone_is_checked(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    assert registry.promote(BREAST, registry.add(draft(tmp_path / "draft")).hash)


def test_keys_are_made_and_bundles_signed_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keygen", str(tmp_path / "keys")]) == 0
    told = dict(line.split()[0].split("=") for line in capsys.readouterr().out.splitlines())
    registry = Registry(tmp_path / "registry")
    bundle = registry.add(draft(tmp_path / "draft"))
    where = ["--registry", str(registry.folder)]
    monkeypatch.setenv("WARDWATCH_TRUSTED_KEYS", told["WARDWATCH_TRUSTED_KEYS"])
    assert main([*where, "promote", "breast", bundle.hash]) == 1
    assert "nobody signed it" in capsys.readouterr().err
    assert main([*where, "sign", "breast", bundle.hash[:9]]) == 1
    assert "WARDWATCH_SIGNING_KEY names no file" in capsys.readouterr().err
    monkeypatch.setenv("WARDWATCH_SIGNING_KEY", told["WARDWATCH_SIGNING_KEY"])
    assert main([*where, "sign", "breast", bundle.hash[:9]]) == 0
    assert main([*where, "promote", "breast", bundle.hash]) == 0
