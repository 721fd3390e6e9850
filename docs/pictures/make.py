"""Makes the pictures of the README and the docs: a demo is run, and its pages are photographed.

    apt-get install chromium fonts-dejavu-core prometheus pngquant
    python -m docs.pictures.make              # takes two minutes
    python -m docs.pictures.make --from DIR   # of a demo that was run with --preview --keep DIR

A picture in the README that differs from what the program draws is a lie, so none is drawn by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.pictures.chromium import Box, Page, chromium

HERE = Path(__file__).parent
LARGEST = 200_000  # bytes of one picture
TOP = 900  # pixels of a page that is shown by its beginning
BOARDS = """[...document.querySelectorAll("h1[id]")].map((head, at, all) => {
  const end = at + 1 < all.length ? all[at + 1].getBoundingClientRect().top : document.body.getBoundingClientRect().bottom
  return [head.id, head.getBoundingClientRect().top + scrollY, end + scrollY]
})"""
HEIGHT = "document.documentElement.scrollHeight"
WIDTH = "document.documentElement.clientWidth"


async def boards(page: Page) -> dict[str, Box]:
    """Where each board is on the page of a preview that is open, by its name."""
    width = await page.evaluate(WIDTH)
    return {name: Box(0, top - 4, width, end - top) for name, top, end in await page.evaluate(BOARDS)}


async def whole(page: Page, most: float = float("inf")) -> Box:
    """The page that is open, down to ``most``."""
    return Box(0, 0, await page.evaluate(WIDTH), min(most, await page.evaluate(HEIGHT)))


async def photographed(directory: Path) -> Mapping[str, bytes]:
    """The pictures of a demo's pages, by name."""
    made = {}
    async with chromium() as page:
        await page.open(directory / "boards.html")
        made["preview"] = await page.picture(await whole(page, TOP))
        for name, box in (await boards(page)).items():
            made[name.removeprefix("shipper-")] = await page.picture(box)
        await page.open(directory / "fleet.html")
        made["fleet"] = await page.picture(await whole(page))
    return made


def smaller(picture: bytes) -> bytes:
    """The same in at most 64 colours: such pages have few."""
    command = ["pngquant", "--strip", "--speed=1", "64", "-"]
    return subprocess.run(command, input=picture, stdout=subprocess.PIPE, check=True).stdout


def main() -> None:
    """Run the demo where none is given, and write the pictures here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="kept", type=Path, help="A demo that was kept.")
    kept = parser.parse_args().kept
    with tempfile.TemporaryDirectory(prefix="shipper-pictures-") as directory:
        if kept is None:
            kept = Path(directory) / "demo"
            demo = [sys.executable, "-m", "shipper", "demo", "--preview", f"--keep={kept.name}"]
            subprocess.run(demo, check=True, cwd=directory)  # pictures do not tell where they were made
        for name, picture in asyncio.run(photographed(kept)).items():
            small = smaller(picture)
            if len(small) > LARGEST:
                raise SystemExit(f"{name} has {len(small):,} bytes, more than {LARGEST:,}")
            (HERE / f"{name}.png").write_bytes(small)
            print(f"{name}.png: {len(small):,} bytes")


if __name__ == "__main__":
    main()
