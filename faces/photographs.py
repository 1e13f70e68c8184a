"""Photographs from a folder `root/<identity>/<image file>`, and the gender table that goes with them."""

import csv
import hashlib
import io
import json
import os
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr
from PIL import Image, ImageOps
from tqdm import tqdm

# Only formats that Pillow decodes by itself: others start outside programs or are not photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
# Left behind by file managers. Names that begin with a dot are skipped as well.
SKIPPED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
# Fewer source pixels than this along the shorter side show no recognisable face or object.
SMALLEST_SIDE = 16
FEMALE = frozenset({"female", "f", "woman", "w", "girl"})
MALE = frozenset({"male", "m", "man", "boy"})
SHOWN = 50
WORKERS = min(4, os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


class FolderError(ValueError):
    """Everything that is wrong with a folder of images at once: `problems` lists (path, reason)."""

    def __init__(self, root: Path, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = list(problems)
        lines = [f"  {path}: {reason}" for path, reason in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  ... and {len(self.problems) - SHOWN} more (all in the error's `problems`)")
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} in {label(root)}; mend or remove:\n" + "\n".join(lines))


def read_folder(
    root: str | Path,
    size: int,
    *,
    crop: int | None = None,
    genders: str | Path | None = None,
    minimum: int = 1,
    limit: int | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Read `root/<identity>/<image file>` as square RGB images of `size` pixels, in order of name.

    `crop` is the side, in source pixels, of the central square that is kept (after turning the picture as
    its EXIF says); None keeps the largest. It is resized with a Lanczos filter. Transparent pixels become
    white; 16-bit grey is scaled to 8 bits; CMYK is converted without a colour profile.
    `genders` is a CSV table with columns `identity`, `gender` and, where rows differ within a person or to
    list single files, `file`; rows for files that are not in the folder are ignored.
    Identities with fewer than `minimum` images are left out, with a warning and in `attrs["too_few"]`.
    `limit` keeps that many images of each identity, the first by name.

    Returns `pixels (image, channel, y, x)` uint8 with coordinates `identity`, `name` ("identity/file"),
    and `gender` ("female" or "male") where a table is given. Attributes: `crop`, `size` in pixels,
    `too_few` (JSON list of identity and number of images) and `enlarged` (how many images were smaller
    than `size`; this warns as well).

    Raises FolderError, a ValueError, naming *all* files that cannot be read and all files without a gender,
    with the reason; ValueError for arguments out of range, no images, or an unusable table.
    """
    root = Path(root)
    for name, value, smallest in (
        ("size", size, 1),
        ("crop", crop, SMALLEST_SIDE),
        ("minimum", minimum, 1),
        ("limit", limit, 1),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < smallest):
            raise ValueError(f"{name} is {value!r}; it must be an integer of at least {smallest}")
    table = None if genders is None else read_genders(genders)
    people, problems = _scan(root)

    too_few = {identity: len(files) for identity, files in people.items() if len(files) < minimum}
    chosen = [
        (identity, path)
        for identity, files in people.items()
        if identity not in too_few
        for path in files[:limit]
    ]
    found = [] if table is None else [_gender(table, identity, path) for identity, path in chosen]
    problems += [
        (f"{identity}/{label(path)}", "has no row in the gender table")
        for (identity, path), gender in zip(chosen, found, strict=False)
        if gender is None
    ]

    pixels = np.empty((len(chosen), 3, size, size), np.uint8)

    def decode(index: int) -> bool:
        pixels[index], enlarged = _decode(chosen[index][1], size, crop)
        return enlarged

    # Pillow warns from 89 million pixels on and refuses from twice as many; here both are refused.
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        results = _in_threads(decode, range(len(chosen)), f"reading {label(root)}", progress)
    problems += [
        (f"{identity}/{label(path)}", str(result))
        for (identity, path), result in zip(chosen, results, strict=True)
        if isinstance(result, Exception)
    ]
    if problems:
        raise FolderError(root, problems)
    if not chosen:
        raise ValueError(
            f"no identity in {label(root)} has {minimum} images or more "
            f"(identities: {len(people)}, most images: {max(too_few.values(), default=0)}); "
            "expected root/<identity>/<image file>"
        )
    _warn(root, size, minimum, too_few, sum(results))

    coordinates = {
        "channel": ["R", "G", "B"],
        "identity": ("image", np.array([identity for identity, _ in chosen])),
        "name": ("image", np.array([f"{identity}/{label(path)}" for identity, path in chosen])),
    }
    if table is not None:
        coordinates["gender"] = ("image", np.array(found))
    attributes = {
        "size": size,
        "crop": "largest central square" if crop is None else crop,
        "too_few": json.dumps([{"identity": identity, "images": n} for identity, n in too_few.items()]),
        "enlarged": sum(results),
    }
    return xr.Dataset(
        {"pixels": (("image", "channel", "y", "x"), pixels)}, coords=coordinates, attrs=attributes
    )


def fingerprint(root: str | Path) -> str:
    """A hash of the names, sizes and contents of the image files in `root`, 32 hexadecimal digits (BLAKE2b).

    It changes when a file that `read_folder` would read is added, removed, renamed or altered, and does not
    depend on the place or the times of the files. Raises FolderError for files that cannot be read.
    """
    root = Path(root)
    people, problems = _scan(root)
    files = [(identity, path) for identity, paths in people.items() for path in paths]

    def digest(item: tuple[str, Path]) -> bytes:
        with item[1].open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()

    digests = _in_threads(digest, files, f"hashing {label(root)}", progress=False)
    total = hashlib.blake2b(digest_size=16)
    for (identity, path), result in zip(files, digests, strict=True):
        if isinstance(result, Exception):
            problems.append((f"{identity}/{label(path)}", str(result)))
            continue
        total.update(json.dumps([identity, label(path), path.stat().st_size]).encode() + result)
    if problems:
        raise FolderError(root, problems)
    return total.hexdigest()


def read_genders(table: str | Path) -> Mapping[tuple[str, str], str]:
    """Read a gender table: {(identity, file): "female" or "male"}, with file "" for a whole identity.

    Columns `identity`, `gender` and optionally `file` (a name, or a path that ends in it), separated by
    comma, semicolon or tab, in UTF-8. Gender may be written female, f, woman, w, girl; male, m, man, boy,
    in upper or lower case. Raises ValueError for a file or columns missing, and FolderError naming all
    rows with another gender and all that contradict one another.
    """
    table = Path(table)
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the gender table {label(table)} as UTF-8 text: {error}") from error
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), restval="")
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    missing = {"identity", "gender"} - set(rows.fieldnames)
    if missing:
        raise ValueError(
            f"the gender table {label(table)} lacks the column {' and '.join(sorted(missing))}; "
            f"its columns are {', '.join(rows.fieldnames) or 'none'}"
        )

    genders: dict[tuple[str, str], str] = {}
    problems = []
    for row in rows:
        place = f"{label(table)}, line {rows.line_num}"
        identity = _nfc(row["identity"].strip())
        file = _nfc(row.get("file", "").strip().replace("\\", "/").rpartition("/")[2])
        written = row["gender"].strip().lower()
        gender = "female" if written in FEMALE else "male" if written in MALE else None
        if gender is None:
            problems.append((place, f"gender {row['gender']!r} of {identity!r} is neither female nor male"))
        elif genders.setdefault((identity, file), gender) != gender:
            problems.append((place, f"{identity}/{file} is {gender}, but above {genders[identity, file]}"))
    for (identity, file), gender in genders.items():
        if file and genders.get((identity, ""), gender) != gender:
            problems.append((label(table), f"{identity}/{file} is {gender}, but {identity} is not"))
    if problems:
        raise FolderError(table, problems)
    return genders


def label(path: Path) -> str:
    """The last part of a path as text that can be printed and stored; bytes that are not UTF-8 as \\xNN."""
    return _nfc(os.fsencode(path.name).decode("utf-8", "backslashreplace"))


def _nfc(text: str) -> str:
    # macOS writes accents in file names as separate characters, tables are mostly typed with composed ones.
    return unicodedata.normalize("NFC", text)


def _gender(table: Mapping[tuple[str, str], str], identity: str, path: Path) -> str | None:
    return table.get((identity, label(path)), table.get((identity, "")))


def _warn(root: Path, size: int, minimum: int, too_few: Mapping[str, int], enlarged: int) -> None:
    if too_few:
        names = ", ".join(f"{identity} ({n})" for identity, n in list(too_few.items())[:10])
        more = ", ..." if len(too_few) > 10 else ""
        warnings.warn(
            f"{label(root)}: {len(too_few)} identities with fewer than {minimum} images "
            f"are left out: {names}{more}",
            stacklevel=3,
        )
    if enlarged:
        warnings.warn(
            f"{label(root)}: {enlarged} images were smaller than {size} pixels and are enlarged", stacklevel=3
        )


def _scan(root: Path) -> tuple[dict[str, list[Path]], list[tuple[str, str]]]:
    """The files of each identity, both in byte order of name, and what is there but cannot be an image."""
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected root/<identity>/<image file>")
    people: dict[str, list[Path]] = {}
    problems: list[tuple[str, str]] = []
    for folder in _entries(root, problems):
        if not folder.exists():
            problems.append((label(folder), "a link that leads nowhere"))
            continue
        if not folder.is_dir():
            if folder.suffix.lower() in Image.registered_extensions():
                problems.append((label(folder), "lies beside the identity folders; move it into one"))
            continue
        identity = label(folder)
        if identity in people:
            problems.append((identity, "two folders have this name, written differently"))
        files = []
        for path in _entries(folder, problems):
            reason = _not_a_file(path)
            if reason:
                problems.append((f"{identity}/{label(path)}", reason))
            else:
                files.append(path)
        people[identity] = files
    return people, problems


def _entries(folder: Path, problems: list[tuple[str, str]]) -> list[Path]:
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
    function: Callable[[Item], Result], items: Iterable[Item], description: str, progress: bool
) -> list[Result | Exception]:
    """`function` of every item, in order; where it raised, the exception in place of the result."""

    def attempt(item: Item) -> Result | Exception:
        # Damaged files make decoders raise almost anything; the caller names each file with the reason.
        try:
            return function(item)
        except Exception as error:
            return _plain(error)

    items = list(items)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(attempt, items)
        return list(tqdm(results, desc=description, total=len(items), unit="image", disable=not progress))


def _plain(error: Exception) -> Exception:
    if isinstance(error, Image.UnidentifiedImageError):
        return ValueError("is not an image, or damaged beyond recognition")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ValueError(f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels; reduce it first")
    if isinstance(error, OSError) and error.strerror:
        return ValueError(f"cannot be opened: {error.strerror}")
    return error if str(error) else ValueError(type(error).__name__)
