"""Who vouches for a bundle: an Ed25519 signature (RFC 8032) of its content hash, kept beside it in the registry.

    <folder>/<task>/<hash>/      the bundle
    <folder>/<task>/<hash>.sig   the key that signed it, and the signature

The hash is of every file, so whoever signs it signs the bundle, and signing does not change what the bundle is called.
What is signed begins with words of its own: no other signature made with the same key can pass for one of a bundle.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vitals.errors import WardwatchError

PRIVATE_FILE: Final = "signing-key.pem"
PUBLIC_FILE: Final = "trusted-keys.pem"

_SPOKEN: Final = b"wardwatch bundle 1\n"
_OWNER_ONLY: Final = 0o600
_SHOWN: Final = 16
_PUBLIC_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)


class KeyRefused(WardwatchError):
    """A file that should hold a key holds none. The text never shows its content."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signed, and what they wrote; both hexadecimal. ``key``: the public half."""

    key: str
    signature: str


class SigningKey:
    """The private half: whoever holds it decides what serves."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """The key in a PEM file (PKCS 8, not encrypted). Raises ``KeyRefused``."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"no private key can be read: {type(error).__name__}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyRefused("the private key is not of Ed25519")
        return cls(key)

    def signed(self, bundle_hash: str) -> Signature:
        """A signature of the bundle of that hash."""
        signature = self._key.sign(_SPOKEN + bundle_hash.encode())
        return Signature(self._key.public_key().public_bytes_raw().hex(), signature.hex())


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles may serve: those signed by one of ``keys`` (by their hexadecimal form), and those that came with
    the program, which are as trustworthy as the program. With no key at all everybody's.
    """

    keys: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    program: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> Trust:
        """The public keys in a file of one PEM block or more. Raises ``KeyRefused``."""
        try:
            blocks = _PUBLIC_PEM.findall(path.read_bytes())
            keys = [serialization.load_pem_public_key(block) for block in blocks]
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"{path.name}: no public key can be read: {type(error).__name__}") from None
        named = {key.public_bytes_raw().hex(): key for key in keys if isinstance(key, Ed25519PublicKey)}
        if not named or len(named) != len(keys):
            raise KeyRefused(f"{path.name}: one public key of Ed25519 or more, each once")
        return cls(named)

    def with_program(self, hashes: Iterable[str]) -> Trust:
        """The same, and the bundles of these hashes came with the program."""
        return replace(self, program=self.program | frozenset(hashes))

    def objection(self, bundle_hash: str, signature: Signature | None) -> str:
        """Why the bundle of that hash may not serve; empty when it may."""
        if not self.keys or bundle_hash in self.program:
            return ""
        if signature is None:
            return "nobody signed it"
        key = self.keys.get(signature.key)
        if key is None:
            return f"it is signed by {signature.key[:_SHOWN]}, whom nobody here trusts"
        try:
            key.verify(bytes.fromhex(signature.signature), _SPOKEN + bundle_hash.encode())
        except (InvalidSignature, ValueError):
            return f"the signature of {signature.key[:_SHOWN]} is not of this bundle"
        return ""


def keygen(folder: Path) -> tuple[Path, Path]:
    """A new pair in ``folder``: the private half, readable by its owner alone, and the file of trusted keys.

    Raises ``KeyRefused`` where a private key lies already: nobody could sign as before without it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / PRIVATE_FILE, folder / PUBLIC_FILE
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
            file.write(pem)
    except FileExistsError:
        raise KeyRefused(f"{PRIVATE_FILE} is there already") from None
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public
