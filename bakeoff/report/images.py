"""Images of outputs as `data:` addresses: small, with their size, and unable to run anything."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL import Image

SVG = "image/svg+xml"
RASTER = ("image/png", "image/jpeg", "image/webp")
FORMATS = ("PNG", "JPEG", "WEBP")  # what is opened, whatever an output calls itself: others start programs
LARGEST_SIDE = 16_000  # pixels; WebP ends at 16 383
LARGEST_SVG = 150_000  # bytes; beyond, a raster image is smaller and drawn faster
# A lossless image may be this many times as large as a lossy one: flat figures stay sharp, photographs small.
LOSSLESS_FACTOR = 1.3
QUALITY = 75
_LENGTH = re.compile(r"^\s*([\d.]+)\s*(px|pt|in|cm|mm)?\s*$")
_PIXELS = {None: 1.0, "px": 1.0, "pt": 96 / 72, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}


@dataclass(frozen=True)
class EmbeddedImage:
    """What an <img> needs so that nothing jumps when it appears."""

    source: str
    width: int
    height: int


class EmbeddedImages:
    """The images of all outputs, encoded side by side; asked for by the output's data."""

    def __init__(self, outputs: Iterable[Mapping[str, Any]]) -> None:
        wanted = dict.fromkeys(filter(None, (_chosen(data) for data in outputs)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._made = dict(zip(wanted, pool.map(_encode, wanted), strict=True))

    def __call__(self, data: Mapping[str, Any]) -> EmbeddedImage | None:
        """The image of an output; None when it has none or it cannot be read."""
        chosen = _chosen(data)
        return self._made.get(chosen) if chosen else None


def _chosen(data: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and content of the image that is shown: a small drawing before a raster image before a large drawing."""
    found = {kind: "".join(data[kind]) for kind in (SVG, *RASTER) if kind in data}
    raster = next(((kind, found[kind]) for kind in RASTER if kind in found), None)
    if SVG in found and (raster is None or len(found[SVG].encode()) < LARGEST_SVG):
        return SVG, found[SVG]
    return raster


def _encode(chosen: tuple[str, str]) -> EmbeddedImage | None:
    kind, content = chosen
    try:
        return _drawing(content) if kind == SVG else _raster(base64.b64decode(content))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow calls a broken PNG a syntax
        return None


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _raster(content: bytes) -> EmbeddedImage | None:
    with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
        if max(opened.size) > LARGEST_SIDE:
            return None
        image = opened.convert("RGBA")
    if image.getchannel("A").getextrema()[0] == 255:
        image = image.convert("RGB")
    exact = _webp(image, lossless=True, quality=60)
    lossy = _webp(image, lossless=False, quality=QUALITY)
    smaller = exact if len(exact) < LOSSLESS_FACTOR * len(lossy) else lossy
    return EmbeddedImage(_address("image/webp", smaller), image.width, image.height)


def _webp(image: Image.Image, lossless: bool, quality: int) -> bytes:
    buffer = io.BytesIO()
    # Method 2 of 6: a fifth of the time of 4, and no larger, on the report's own figures.
    image.save(buffer, "WEBP", lossless=lossless, quality=quality, method=2)
    return buffer.getvalue()


def _drawing(content: str) -> EmbeddedImage | None:
    """An SVG as the source of an <img>, where it can neither run scripts nor load anything."""
    size = size_of_drawing(content)
    return EmbeddedImage(_address(SVG, content.encode()), *map(round, size)) if size else None


def size_of_drawing(content: str) -> tuple[float, float] | None:
    """Width and height of an SVG in pixels, 96 to the inch; None where they cannot be shown. May raise ValueError."""
    root = re.search(r"<svg\b[^>]*>", content)
    if not root:
        return None
    attributes = dict(re.findall(r'([\w:]+)\s*=\s*"([^"]*)"', root[0]))
    sizes = [_LENGTH.match(attributes.get(name, "")) for name in ("width", "height")]
    if all(sizes):
        width, height = (float(size[1]) * _PIXELS[size[2]] for size in sizes if size)
    else:
        *_, width, height = (float(part) for part in re.split(r"[\s,]+", attributes.get("viewBox", "").strip()) if part)
    return (width, height) if 0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE else None
