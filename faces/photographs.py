"""Photographs from a folder `root/<identity>/<image file>`, and the gender table that goes with them."""

import hashlib
import io
import json
import os
import stat
import unicodedata
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image, ImageOps
from tqdm import tqdm

# Only formats that Pillow decodes by itself: others start outside programs or are not photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
# Left behind by file managers. Names that begin with a dot are skipped as well.
SKIPPED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
# Fewer source pixels than this along the shorter side show no recognisable face or object.
SMALLEST_SIDE = 16
GENDERS = {"female": ("female", "f", "woman", "w", "girl"), "male": ("male", "m", "man", "boy")}
SHOWN = 50
WORKERS = min(4, os.cpu_count() or 1)

Problems = list[tuple[str, str]]  # path and reason


class FolderError(ValueError):
    """Everything that is wrong with a folder of images at once: `problems` lists (path, reason)."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self.problems = problems
        lines = [f"  {path}: {reason}" for path, reason in problems[:SHOWN]]
        if len(problems) > SHOWN:
            lines.append(f"  ... and {len(problems) - SHOWN} more (all in the error's `problems`)")
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {label(root)}; mend or remove:\n" + "\n".join(lines))


def read_folder(
    root: str | Path,
    size: int,
    *,
    crop: int | None = None,
    genders: str | Path | None = None,
    limit: int | None = None,
) -> xr.Dataset:
    """Read `root/<identity>/<image file>` as square RGB images of `size` pixels, in order of name.

    `crop` is the side, in source pixels, of the central square that is kept (after turning the picture as
    its EXIF says); None keeps the largest. It is resized with a Lanczos filter. Transparent pixels become
    white; 16-bit grey is scaled to 8 bits; CMYK is converted without a colour profile.
    `genders` is a table for `read_genders`; its rows for files that are not in the folder are ignored.
    `limit` keeps that many images of each identity, the first by name. Identities without images are left
    out, with a warning.

    Returns `pixels (image, channel, y, x)` uint8 with coordinates `identity`, `name` ("identity/file"),
    and `gender` ("female" or "male") where a table is given. Attributes: `crop`, `size` in pixels, and
    `enlarged` (how many images were smaller than `size`; this warns as well).

    Raises FolderError, a ValueError, naming *all* files that cannot be read and all files without a gender,
    with the reason; ValueError for no images or an unusable table.
    """
    root = Path(root)
    table = None if genders is None else read_genders(genders)
    people, problems = _scan(root)
    files = [file for listed in people.values() for file in listed[:limit]]
    names = [name for name, _ in files]
    identities = [name.partition("/")[0] for name in names]
    coordinates = {"channel": ["R", "G", "B"], "identity": ("image", identities), "name": ("image", names)}
    if table is not None:
        known = [table.get(name) or table.get(f"{who}/") for name, who in zip(names, identities, strict=True)]
        coordinates["gender"] = ("image", known)
        unknown = [name for name, gender in zip(names, known, strict=True) if gender is None]
        problems += [(name, "has no row in the gender table") for name in unknown]

    pixels = np.empty((len(files), 3, size, size), np.uint8)

    def decode(index: int) -> bool:
        pixels[index], enlarged = _decode(files[index][1], size, crop)
        return enlarged

    # Pillow warns from 89 million pixels on and refuses from twice as many; here both are refused.
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        enlarged = sum(_in_threads(decode, names, problems, f"reading {label(root)}"))
    if problems:
        raise FolderError(root, sorted(problems))
    if not files:
        raise ValueError(f"no images in {label(root)}; expected root/<identity>/<image file>")
    if empty := [identity for identity, listed in people.items() if not listed]:
        text = f"{label(root)}: {len(empty)} identities without images are left out: {', '.join(empty[:10])}"
        warnings.warn(text + ", ..." * (len(empty) > 10), stacklevel=2)
    if enlarged:
        text = f"{label(root)}: {enlarged} images were smaller than {size} pixels and are enlarged"
        warnings.warn(text, stacklevel=2)
    attributes = {"size": size, "crop": crop or "largest central square", "enlarged": enlarged}
    return xr.Dataset({"pixels": (("image", "channel", "y", "x"), pixels)}, coordinates, attributes)


def fingerprint(root: str | Path) -> str:
    """A hash of the names, sizes and contents of the image files in `root`, 32 hexadecimal digits (BLAKE2b).

    It changes when a file that `read_folder` would read is added, removed, renamed or altered, and does not
    depend on the place or the times of the files. Raises FolderError for files that cannot be read.
    """
    people, problems = _scan(Path(root))
    files = [file for listed in people.values() for file in listed]

    def digest(index: int) -> bytes:
        name, path = files[index]
        with path.open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        return json.dumps([*name.split("/"), path.stat().st_size]).encode() + content

    parts = _in_threads(digest, [name for name, _ in files], problems)
    if problems:
        raise FolderError(Path(root), sorted(problems))
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def read_genders(table: str | Path) -> dict[str, str]:
    """Read a gender table: "identity/file", or "identity/" for a whole identity, to "female" or "male".

    Columns `identity`, `gender` and, where rows differ within a person or to list single files, `file` (a name,
    or a path that ends in it), separated by comma, semicolon or tab, in UTF-8. Gender may be written female, f,
    woman, w, girl; male, m, man, boy, in upper or lower case. Raises ValueError for a file or columns missing,
    and FolderError naming all rows with another gender and all that contradict one another.
    """
    table = Path(table)
    try:
        text = table.read_text(encoding="utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        options = {"dtype": str, "keep_default_na": False, "index_col": False, "skip_blank_lines": False}
        rows = pd.read_csv(io.StringIO(text), sep=separator, **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the gender table {label(table)} as UTF-8 text: {error}") from error
    rows.columns = rows.columns.str.strip().str.lower()
    rows = rows.loc[:, ~rows.columns.duplicated()]
    if missing := {"identity", "gender"} - set(rows):
        raise ValueError(
            f"the gender table {label(table)} lacks the column {' and '.join(sorted(missing))}; "
            f"its columns are {', '.join(rows)}"
        )
    rows = rows[(rows != "").any(axis=1)]
    # macOS writes accents in file names as separate characters, tables are mostly typed with composed ones.
    person = rows.identity.str.strip().str.normalize("NFC") + "/"
    file = rows.get("file", pd.Series("", rows.index)).str.strip().str.normalize("NFC")
    file = person + file.str.split(r"[\\/]", regex=True).str[-1]
    words = {word: gender for gender, written in GENDERS.items() for word in written}
    gender = rows.gender.str.strip().str.lower().map(words)
    first = gender.groupby(file).transform("first")
    of_person = person.map(gender.groupby(file).first())

    problems = []
    for k, key in file.items():
        place = f"{label(table)}, line {k + 2}"
        if pd.isna(gender[k]):
            reason = f"gender {rows.gender[k]!r} of {person[k][:-1]!r} is neither female nor male"
            problems.append((place, reason))
        elif gender[k] != first[k]:
            problems.append((place, f"{key} is {gender[k]}, but above {first[k]}"))
        elif pd.notna(of_person[k]) and gender[k] != of_person[k]:
            problems.append((place, f"{key} is {gender[k]}, but {person[k][:-1]} is not"))
    if problems:
        raise FolderError(table, problems)
    return dict(zip(file, gender, strict=True))


def label(path: Path) -> str:
    """The last part of a path as text that can be printed and stored; bytes that are not UTF-8 as \\xNN."""
    return unicodedata.normalize("NFC", os.fsencode(path.name).decode("utf-8", "backslashreplace"))


def _scan(root: Path) -> tuple[dict[str, list[tuple[str, Path]]], Problems]:
    """Name ("identity/file") and path of each identity's files, in byte order, and what cannot be an image."""
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected root/<identity>/<image file>")
    people: dict[str, list[tuple[str, Path]]] = {}
    problems: Problems = []
    for folder in _entries(root, problems):
        identity = label(folder)
        if not folder.exists():
            problems.append((identity, "a link that leads nowhere"))
        elif folder.is_dir():
            if identity in people:
                problems.append((identity, "two folders have this name, written differently"))
            files = [(f"{identity}/{label(path)}", path) for path in _entries(folder, problems)]
            reasons = [_not_a_file(path) for _, path in files]
            problems += [(name, why) for (name, _), why in zip(files, reasons, strict=True) if why]
            people[identity] = [file for file, why in zip(files, reasons, strict=True) if not why]
        elif folder.suffix.lower() in Image.registered_extensions():
            problems.append((identity, "lies beside the identity folders; move it into one"))
    return people, problems


def _entries(folder: Path, problems: Problems) -> list[Path]:
    try:
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        problems.append((label(folder), f"cannot be listed: {error.strerror}"))
        return []
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in SKIPPED]


def _not_a_file(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError as error:
        return f"cannot be opened (a broken link?): {error.strerror}"
    if stat.S_ISDIR(status.st_mode):
        return "a folder inside an identity folder; is the root one level too high?"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "empty (0 bytes)" if status.st_size == 0 else None


def _decode(path: Path, size: int, crop: int | None) -> tuple[np.ndarray, bool]:
    """One image as (3, size, size) uint8, and whether it had to be enlarged."""
    with Image.open(path, formats=FORMATS) as opened:
        # A phone's MPO file holds the picture and previews of it; in other formats no frame is the picture.
        if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
            raise ValueError(f"has {opened.n_frames} frames or pages; keep one")
        image = _to_rgb(ImageOps.exif_transpose(opened))
    side = min(image.size) if crop is None else crop
    if min(image.size) < max(side, SMALLEST_SIDE):
        wanted = f"the crop of {crop}" if crop is not None else f"{SMALLEST_SIDE} pixels a side"
        raise ValueError(f"is {image.width} x {image.height} pixels, smaller than {wanted}")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    # reducing_gap=3 shrinks very large pictures in two steps, with no visible difference (Pillow's manual).
    square = image.crop(box).resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3)
    return np.asarray(square).transpose(2, 0, 1), side < size


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip sixteen bits at 255 instead of scaling them.
        grey = np.asarray(image).astype(np.float32) * (255 / 65535)
        image = Image.fromarray(grey.round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"has 32-bit pixels (mode {image.mode}) of unknown range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _in_threads(
    function: Callable[[int], Any], names: list[str], problems: Problems, description: str | None = None
) -> list[Any]:
    """`function` of the place of every name, in order; what it raised is added to `problems`, by name.

    With a description, progress is shown.
    """

    def attempt(index: int) -> Any:
        # Damaged files make decoders raise almost anything; each file is named with the reason.
        try:
            return function(index)
        except Exception as error:
            problems.append((names[index], _reason(error)))
            return 0

    n = len(names)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(attempt, range(n))
        return list(tqdm(results, desc=description, total=n, unit="image", disable=description is None))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "is not an image, or damaged beyond recognition"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels; reduce it first"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be opened: {error.strerror}"
    return str(error) or type(error).__name__
