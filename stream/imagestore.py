"""From an imaging event to grey pixels: inline bytes or a fetched file, DICOM, PNG or bare.

Runs beside the corridor's thread, never on it: a slow archive must not hold up a heartbeat.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from stream import pixels
from stream.pixels import Pixels
from vitals.errors import Reason, Unusable
from vitals.events import ImagingEvent

MAX_IMAGE_BYTES: Final = 64 * 1024 * 1024
_DEADLINE_S: Final = 4.0
_FETCH_S: Final = 5.0
_BATCH_S: Final = 6.0
_FETCHERS: Final = 8
_PIECE_BYTES: Final = 256 * 1024


class ImageStore:
    """Fetches only from addresses that begin with one of ``allowed`` (an event must not choose what we open)."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = allowed
        self._fetchers = ThreadPoolExecutor(_FETCHERS, "fetch")

    def pixels(self, events: Sequence[ImagingEvent]) -> Iterator[Pixels | Unusable]:
        """Grey pixels[rows, columns] of each, bright is bright, or why there are none: pixels-missing,
        pixels-unreadable, oversized, checksum, unreachable.

        All are fetched together and have one deadline: a slow archive costs a batch seconds, not each of its images.
        """
        end_s = time.monotonic() + _BATCH_S
        fetched = [self._fetchers.submit(self._fetched, event) if _is_elsewhere(event) else None for event in events]
        for event, fetching in zip(events, fetched, strict=True):
            try:
                yield _inline(event) if fetching is None else decoded(_within(fetching, end_s))
            except Unusable as why:
                yield why

    def _fetched(self, event: ImagingEvent) -> bytes:
        address = event.uri or ""
        if ".." in address or not any(address.startswith(prefix) for prefix in self._allowed):
            raise Unusable(Reason.UNREACHABLE, "an address that this worker may not open")
        if not event.sha256:
            raise Unusable(Reason.CHECKSUM, "an address without a SHA-256")
        try:
            with urllib.request.urlopen(address, timeout=_DEADLINE_S) as answer:  # noqa: S310  the prefix is allowed
                content = _whole(answer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unusable(Reason.UNREACHABLE, type(error).__name__) from None
        if hashlib.sha256(content).hexdigest() != event.sha256.lower():
            raise Unusable(Reason.CHECKSUM)
        return content


def _is_elsewhere(event: ImagingEvent) -> bool:
    return not event.pixels and bool(event.uri)


def _inline(event: ImagingEvent) -> Pixels:
    if event.pixels is not None and event.rows is not None and event.columns is not None:
        return pixels.bare(event.pixels, event.rows, event.columns)
    if event.pixels:
        return decoded(event.pixels)
    raise Unusable(Reason.PIXELS_MISSING, "neither pixels nor an address")


def _within(fetching: Future[bytes], end_s: float) -> bytes:
    try:
        return fetching.result(max(0.0, end_s - time.monotonic()))
    except TimeoutError:
        fetching.cancel()
        raise Unusable(Reason.UNREACHABLE, "not within the deadline") from None


def _whole(answer: Any) -> bytes:
    """All of it, within bounds of size and time: a trickle must not keep a fetcher."""
    end_s = time.monotonic() + _FETCH_S
    content = bytearray()
    while piece := answer.read1(_PIECE_BYTES):
        content += piece
        if len(content) > MAX_IMAGE_BYTES:
            raise Unusable(Reason.OVERSIZED, f"more than {MAX_IMAGE_BYTES} bytes")
        if time.monotonic() > end_s:
            raise TimeoutError
    return bytes(content)


def decoded(content: bytes) -> Pixels:
    """Grey pixels[rows, columns] of a DICOM or PNG file. Raises ``Unusable``."""
    if content.startswith(pixels.PNG):
        return pixels.png(content)
    from stream import dicom  # noqa: PLC0415  its import takes a third of a second, which a worker's start has not

    return dicom.decoded(content)
