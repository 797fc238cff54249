"""From an imaging event to grey pixels: inline bytes or a fetched file, DICOM, PNG or bare.

Runs beside the corridor's thread, never on it: a slow archive must not hold up a heartbeat.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.pixels import apply_rescale, pixel_array

from vitals.errors import Reason, Unusable
from vitals.events import ImagingEvent

Pixels = npt.NDArray[Any]

MAX_IMAGE_BYTES: Final = 64 * 1024 * 1024
MAX_SAMPLES: Final = 32_000_000
"""Of one frame, all colours: a mammogram has 30 million. Every step makes eight bytes of each."""
_DEADLINE_S: Final = 5.0
_FETCH_S: Final = 8.0
_BATCH_S: Final = 10.0
_FETCHERS: Final = 8
_PIECE_BYTES: Final = 256 * 1024
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
"""A transfer syntax that unpacks to any size before its header can be read; no modality here sends it."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_BARE_PIXELS_MAX: Final = 4_000_000


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
        return _bare(event.pixels, event.rows, event.columns)
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
    return _png(content) if content.startswith(_PNG) else _dicom(content)


def _bare(content: bytes, rows: int, columns: int) -> Pixels:
    if rows < 1 or columns < 1 or rows * columns > _BARE_PIXELS_MAX or rows * columns != len(content):
        raise Unusable(Reason.PIXELS_UNREADABLE, f"{len(content)} bytes for {rows} x {columns} pixels")
    return np.frombuffer(content, np.uint8).reshape(rows, columns)


def _png(content: bytes) -> Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                _must_be_sane(picture.height, picture.width, len(picture.getbands()))
                deep = picture.mode.startswith("I")
                return np.asarray(picture.convert("I") if deep else picture.convert("L"))
    except Unusable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unusable(Reason.OVERSIZED, "too many pixels") from None
    except Exception as error:  # noqa: BLE001  what a damaged chunk makes of its reader is anybody's guess
        raise Unusable(Reason.PIXELS_UNREADABLE, f"not a PNG that can be read: {type(error).__name__}") from None


def _dicom(content: bytes) -> Pixels:
    if _DEFLATED in content:
        raise Unusable(Reason.PIXELS_UNREADABLE, "a deflated DICOM object")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = pydicom.dcmread(io.BytesIO(content), force=False)
            has_pixels = any(keyword in file for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    except Exception as error:  # noqa: BLE001  a damaged header raises from wherever it is noticed
        raise Unusable(Reason.PIXELS_UNREADABLE, f"neither DICOM nor PNG: {type(error).__name__}") from None
    if not has_pixels:
        raise Unusable(Reason.PIXELS_MISSING, "a DICOM object without pixel data")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _grey(file)
    except Unusable:
        raise
    except Exception as error:  # noqa: BLE001  decoders of eleven codecs raise whatever they please
        raise Unusable(Reason.PIXELS_UNREADABLE, type(error).__name__) from None


def _must_be_sane(rows: int, columns: int, colours: int) -> None:
    if rows < 1 or columns < 1 or colours < 1:
        raise Unusable(Reason.PIXELS_UNREADABLE, f"{rows} x {columns} pixels")
    if rows * columns * colours > MAX_SAMPLES:
        raise Unusable(Reason.OVERSIZED, f"{rows} x {columns} pixels")


def _grey(file: pydicom.Dataset) -> Pixels:
    _must_be_sane(int(file.Rows), int(file.Columns), int(file.SamplesPerPixel))
    frames = int(file.get("NumberOfFrames", 1) or 1)
    pixels: Pixels = pixel_array(file, index=frames // 2)
    if int(file.SamplesPerPixel) == 3:
        pixels = np.rint(pixels[..., :3] @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # ITU-R BT.601
    else:
        pixels = apply_rescale(pixels, file)
    return pixels.max() - pixels if file.PhotometricInterpretation == "MONOCHROME1" else pixels
