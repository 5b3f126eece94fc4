"""Work on one large image in parallel bands, in place: no pixel is copied.

    python examples/image.py [--megapixels N] [--workers N]

The image is a `bytearray`. Each task gets its band as a `memoryview`, a slice of the image seen as
rows and columns, and writes into the very memory that the caller reads afterwards. The same work is
done without workers, on threads and in interpreters, and the checksums have to agree.
"""

import argparse
import os
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

WIDTH = 2_000  # pixels
CURVE = bytes(round(255 * (value / 255) ** 0.6) for value in range(256))  # brightens the dark


def new_image(height: int) -> bytearray:
    """Grey values, a slanted gradient."""
    row = bytes(column * 255 // WIDTH for column in range(WIDTH))
    image = bytearray()
    for y in range(height):
        shift = y % WIDTH
        image += row[shift:] + row[:shift]
    return image


def brighten(band: memoryview, curve: bytes) -> int:
    """Brightens a band and smooths each of its rows, in place. The checksum of the band."""
    rows, width = band.shape
    pixels = band.cast("B")
    for y in range(rows):
        row = pixels[y * width : (y + 1) * width]
        row[:] = bytes(row).translate(curve)
        last = row[0]
        for x in range(1, width):
            last = row[x] = (row[x] + last) >> 1
    return zlib.crc32(pixels)


def bands_of(image: bytearray, count: int) -> list[memoryview]:
    """Views of whole rows, of two dimensions, that cover the image."""
    pixels = memoryview(image)
    height = len(image) // WIDTH
    edges = pairwise(height * part // count for part in range(count + 1))
    return [
        pixels[top * WIDTH : bottom * WIDTH].cast("B", (bottom - top, WIDTH))
        for top, bottom in edges
        if bottom > top
    ]


def timed(
    executor: Executor | None, function: Callable[..., int], height: int, count: int
) -> tuple[str, float]:
    """The checksum of the image and its bands, and the seconds for working on them."""
    image = new_image(height)
    bands = bands_of(image, count)
    start = time.perf_counter()
    with executor or nullcontext():
        each = map if executor is None else executor.map
        sums = list(each(function, bands, [CURVE] * len(bands)))
    seconds = time.perf_counter() - start
    if sums != [zlib.crc32(band.cast("B")) for band in bands]:
        sys.exit("what the tasks wrote is not what is in the image")
    return f"{zlib.crc32(image):08x}", seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megapixels", type=int, default=8)
    parser.add_argument("--workers", type=int, default=os.process_cpu_count() or 1)
    options = parser.parse_args()
    if options.megapixels < 1 or options.workers < 1:
        parser.error("--megapixels and --workers must be at least 1")
    height = options.megapixels * 1_000_000 // WIDTH
    workers, count = options.workers, 4 * options.workers
    interpreters = InterpreterThreadPoolExecutor(workers, max_interpreters=workers)
    runs = {
        "alone": timed(None, brighten, height, count),
        "threads": timed(ThreadPoolExecutor(workers), brighten, height, count),
        "interpreters": timed(interpreters, interpreter(brighten), height, count),
    }
    table = Table(title=f"{options.megapixels} megapixels in {count} bands, {workers} workers")
    table.add_column("worked on")
    for heading in ("checksum", "seconds", "speed-up"):
        table.add_column(heading, justify="right")
    for name, (checksum, seconds) in runs.items():
        speedup = runs["alone"][1] / seconds
        table.add_row(name, checksum, f"{seconds:.2f}", f"{speedup:.2f}x")
    Console().print(table)
    if len({checksum for checksum, _ in runs.values()}) > 1:
        sys.exit("the checksums differ")


if __name__ == "__main__":
    main()
