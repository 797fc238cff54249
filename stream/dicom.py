"""A DICOM object to grey pixels, as its own tags say they are to be shown."""

from __future__ import annotations

import io
import warnings
from typing import Final

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_rescale, pixel_array

from stream.pixels import Pixels, must_be_sane
from vitals.errors import Reason, Unusable

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
"""A transfer syntax that unpacks to any size before its header can be read; no modality here sends it."""


def decoded(content: bytes) -> Pixels:
    """Grey pixels[rows, columns] of its middle frame, bright is bright. Raises ``Unusable``."""
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


def _grey(file: pydicom.Dataset) -> Pixels:
    must_be_sane(int(file.Rows), int(file.Columns), int(file.SamplesPerPixel))
    frames = int(file.get("NumberOfFrames", 1) or 1)
    pixels: Pixels = pixel_array(file, index=frames // 2)
    if int(file.SamplesPerPixel) == 3:
        pixels = np.rint(pixels[..., :3] @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # ITU-R BT.601
    else:
        pixels = apply_rescale(pixels, file)
    return pixels.max() - pixels if file.PhotometricInterpretation == "MONOCHROME1" else pixels
