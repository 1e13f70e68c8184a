import os
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from faces.photographs import FolderError, fingerprint, read_folder, read_genders

SIZE = 32


def picture(side: int = 48, seed: int = 0) -> np.ndarray:
    """A smooth picture (side, side, 3) uint8 in which no two corners are alike."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    shift = np.random.default_rng(seed).uniform(0, 20)
    return np.stack([30 + 180 * x, 30 + 180 * y, 20 + 90 * (x * y) + shift], -1).astype(np.uint8)


def write(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if pixels is None else pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """Two people with two pictures each."""
    folder = tmp_path / "people"
    for i, name in enumerate(("Ann", "Ben")):
        for k in range(2):
            write(folder / name / f"{k}.png", picture(seed=2 * i + k))
    return folder


def read(root, **options):
    return read_folder(root, SIZE, **options)


# Edges blur over three pixels in a Lanczos filter: look at four or more from them.
def only(root, **options) -> np.ndarray:
    """The one image of a folder, (y, x, channel)."""
    data = read(root, **options)
    assert data.sizes["image"] == 1
    return data.pixels.values[0].transpose(1, 2, 0)


def reduced(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def assert_alike(found: np.ndarray, expected: np.ndarray, tolerance: int = 3) -> None:
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= tolerance


def test_dataset_has_the_documented_form(root):
    data = read(root)
    assert data.pixels.dims == ("image", "channel", "y", "x")
    assert data.pixels.shape == (4, 3, SIZE, SIZE)
    assert data.pixels.dtype == np.uint8
    assert data.identity.values.tolist() == ["Ann", "Ann", "Ben", "Ben"]
    assert data.name.values.tolist() == ["Ann/0.png", "Ann/1.png", "Ben/0.png", "Ben/1.png"]
    assert data.channel.values.tolist() == ["R", "G", "B"]
    assert_alike(data.pixels.values[3].transpose(1, 2, 0), reduced(picture(seed=3)), 0)


@pytest.mark.filterwarnings("ignore")
def test_dataset_can_be_stored(root, tmp_path):
    data = read(root)
    data.to_zarr(tmp_path / "store.zarr")
    assert xr.open_zarr(tmp_path / "store.zarr").load().equals(data)


def test_order_does_not_depend_on_when_files_were_made(tmp_path):
    for name in ("b", "a", "C"):
        for file in ("10.png", "2.png", "1.png"):
            write(tmp_path / name / file)
    assert read(tmp_path).name.values.tolist() == [
        f"{name}/{file}" for name in ("C", "a", "b") for file in ("1.png", "10.png", "2.png")
    ]


def test_crop_is_a_central_square_of_source_pixels(tmp_path):
    pixels = np.zeros((100, 80, 3), np.uint8)
    pixels[30:70, 20:60] = (10, 200, 30)
    write(tmp_path / "Ann" / "0.png", pixels)
    assert (only(tmp_path, crop=40) == (10, 200, 30)).all()
    assert (only(tmp_path)[0] == 0).all()


def test_without_crop_the_largest_central_square_is_kept(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, 16:80] = 255
    write(tmp_path / "Ann" / "0.png", pixels)
    assert (only(tmp_path) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, orientation):
    upright = picture()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    stored = image if orientation == 1 else image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "Ann").mkdir()
    stored.save(tmp_path / "Ann" / "0.png", exif=exif)
    assert_alike(only(tmp_path), reduced(upright), 1)


def test_greyscale_and_bilevel(tmp_path):
    grey = picture()[..., 0]
    write(tmp_path / "Ann" / "0.png", grey)
    expected = np.repeat(np.asarray(Image.fromarray(grey).resize((SIZE, SIZE), 1))[..., None], 3, -1)
    assert_alike(only(tmp_path), expected)
    Image.fromarray(grey).convert("1").save(tmp_path / "Ann" / "0.png")
    found = only(tmp_path).astype(int)
    assert found.max() > 240
    assert found.min() < 15


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = picture()[..., 0]
    for name in ("0.png", "0.tif"):
        path = write(tmp_path / "Ann" / name, grey.astype(np.uint16) * 257)
        assert_alike(only(tmp_path)[..., 0], reduced(np.repeat(grey[..., None], 3, -1))[..., 0])
        path.unlink()


def test_cmyk_jpeg_has_its_colours(tmp_path):
    (tmp_path / "Ann").mkdir()
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "Ann" / "0.jpg", quality=95)
    assert_alike(only(tmp_path), reduced(picture()), 12)


def test_palette_is_expanded_and_transparent_becomes_white(tmp_path):
    indices = np.zeros((48, 48), np.uint8)
    indices[:, 24:] = 1
    image = Image.frombytes("P", (48, 48), indices.tobytes())
    image.putpalette([250, 10, 20, 10, 20, 250])
    (tmp_path / "Ann").mkdir()
    image.save(tmp_path / "Ann" / "0.png", transparency=1)
    found = only(tmp_path)
    assert (found[:, :12] == (250, 10, 20)).all()
    assert (found[:, 20:] == 255).all()
    image.save(tmp_path / "Ann" / "0.png")
    assert (only(tmp_path)[:, 20:] == (10, 20, 250)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    bands = len(mode)
    pixels = np.full((48, 48, bands), 40, np.uint8)
    pixels[..., -1] = 255
    pixels[:24, :, -1] = 0
    (tmp_path / "Ann").mkdir()
    Image.frombytes(mode, (48, 48), pixels.tobytes()).save(tmp_path / "Ann" / "0.png")
    found = only(tmp_path)
    assert (found[:12] == 255).all()
    assert (found[20:] == 40).all()


def test_hidden_files_are_skipped(root):
    before = read(root)
    for path in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (root / "Ann" / path).write_bytes(b"junk")
        (root / path).write_bytes(b"junk")
    (root / ".cache").mkdir()
    (root / "__MACOSX").mkdir()
    assert before.identical(read(root))


def test_a_readme_beside_the_identities_is_no_problem(root):
    (root / "README.txt").write_text("about")
    (root / "genders.csv").write_text("identity,gender\nAnn,f\nBen,m\n")
    assert read(root, genders=root / "genders.csv").sizes["image"] == 4


def test_links_are_followed(root):
    (root / "Cid").mkdir()
    (root / "Cid" / "0.png").symlink_to(root / "Ann" / "0.png")
    (root / "Dan").symlink_to(root / "Ben")
    data = read(root)
    assert data.name.values[-3:].tolist() == ["Cid/0.png", "Dan/0.png", "Dan/1.png"]
    assert (data.pixels.values[4] == data.pixels.values[0]).all()


def test_names_that_are_not_utf8_are_read_and_printable(root):
    folder = os.path.join(os.fsencode(root), b"Ren\xe9")
    os.mkdir(folder)
    os.rename(os.path.join(os.fsencode(root), b"Ann", b"0.png"), os.path.join(folder, b"\xff.png"))
    data = read(root)
    assert "Ren\\xe9" in data.identity.values
    assert "Ren\\xe9/\\xff.png" in data.name.values
    with open(os.path.join(folder, b"\xfe.png"), "wb"):
        pass
    with pytest.raises(FolderError, match=r"Ren\\xe9/\\xfe.png: empty"):
        read(root)


def damage(root) -> dict[str, str]:
    """Put one of each kind of bad file into `root`; gives the path and a part of the reason of each."""
    ann = root / "Ann"
    (ann / "text.jpg").write_text("not a picture")
    (ann / "empty.jpg").write_bytes(b"")
    big = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("cut.jpg", "cut.png"):
        write(ann / name, big)
        (ann / name).write_bytes((ann / name).read_bytes()[:2000])
    (ann / "header.png").write_bytes((ann / "0.png").read_bytes()[:20])
    write(ann / "dot.png", np.zeros((1, 1, 3), np.uint8))
    frames = [Image.fromarray(picture(seed=i)) for i in (1, 2)]
    frames[0].save(ann / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(ann / "pages.tif", save_all=True, append_images=frames[1:])
    Image.fromarray(picture()[..., 0].astype(np.float32)).save(ann / "float.tif")
    (ann / "bomb.png").write_bytes(bomb())
    (ann / "notes.txt").write_text("remember")
    write(ann / "more" / "0.png")
    (ann / "broken.png").symlink_to(root / "nowhere.png")
    os.mkfifo(ann / "pipe.png")
    write(root / "stray.png")
    (root / "lost").symlink_to(root / "nowhere")
    return {
        "Ann/text.jpg": "not an image",
        "Ann/empty.jpg": "empty",
        "Ann/cut.jpg": "truncated",
        "Ann/cut.png": "",
        "Ann/header.png": "",
        "Ann/dot.png": "1 x 1 pixels, smaller than 16",
        "Ann/moving.gif": "2 frames",
        "Ann/pages.tif": "2 frames or pages",
        "Ann/float.tif": "32-bit",
        "Ann/bomb.png": "more than",
        "Ann/notes.txt": "not an image",
        "Ann/more": "a folder inside an identity folder",
        "Ann/broken.png": "broken link",
        "Ann/pipe.png": "not a regular file",
        "stray.png": "beside the identity folders",
        "lost": "a link that leads nowhere",
    }


def bomb() -> bytes:
    """A PNG header that announces 20 000 x 20 000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_every_bad_file_is_named_in_one_error(root):
    expected = damage(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FolderError) as caught:
            read(root)
    problems = dict(caught.value.problems)
    assert problems.keys() == expected.keys()
    for path, reason in expected.items():
        assert reason in problems[path], (path, problems[path])
        assert f"{path}: " in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_large_but_legal_file_is_refused_like_a_larger_one(tmp_path, monkeypatch):
    write(tmp_path / "Ann" / "0.png", picture(200))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    with pytest.raises(FolderError, match="more than 30,000 pixels"):
        read(tmp_path)


def test_hundreds_of_bad_files_are_all_kept(tmp_path):
    for i in range(120):
        (tmp_path / "Ann").mkdir(exist_ok=True)
        (tmp_path / "Ann" / f"{i:03}.jpg").write_bytes(b"x")
    with pytest.raises(FolderError, match="120 problems") as caught:
        read(tmp_path)
    assert len(caught.value.problems) == 120
    assert "and 70 more" in str(caught.value)


def test_images_smaller_than_the_crop_are_named(root):
    with pytest.raises(FolderError, match=r"Ann/0\.png: is 48 x 48 pixels, smaller than the crop of 49"):
        read(root, crop=49)


def test_enlarged_images_are_reported(tmp_path):
    write(tmp_path / "Ann" / "0.png", picture(20))
    with pytest.warns(UserWarning, match="1 images were smaller than 32 pixels"):
        assert read(tmp_path).attrs["enlarged"] == 1


def test_identities_without_images_are_reported(root):
    for k in range(12):
        (root / f"Empty{k:02}").mkdir()
    (root / "Empty00" / ".DS_Store").write_bytes(b"junk")
    with pytest.warns(
        UserWarning, match=r"12 identities without images are left out: Empty00, .*Empty09, \.\.\.$"
    ):
        data = read(root)
    assert set(data.identity.values) == {"Ann", "Ben"}


def test_limit_keeps_the_first_images_of_each_identity(root):
    assert read(root, limit=1).name.values.tolist() == ["Ann/0.png", "Ben/0.png"]


@pytest.mark.parametrize("content", [[], ["Ann"]], ids=["empty", "empty identity"])
def test_a_folder_without_images_is_an_error(tmp_path, content):
    for name in content:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"expected root/<identity>/<image file>"):
        read(tmp_path)


def test_a_root_that_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="not a folder"):
        read(tmp_path / "absent")


def table(tmp_path, text: str, encoding: str = "utf-8"):
    path = tmp_path / "genders.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "identity,gender\nAnn,female\nBen,male\n",
        "identity,file,gender\nAnn,0.png,female\nAnn,1.png,F\nBen,0.png,Male\nBen,1.png,m\n",
        "identity,file,gender\nAnn,Ann/0.png,woman\nAnn,C:\\x\\1.png, W \nBen,,MAN\n",
        "\ufeffIdentity;Gender\r\nAnn;f\r\nBen;m\r\n",
        "gender\tidentity\tage\nf\tAnn\t3\nm\tBen\t4\n\n",
        'identity,gender,note\n"Ann",f,"a, b\nc"\nBen,m,\nNobody,m,\n',
    ],
    ids=["identity", "file", "paths", "excel", "tabs", "quotes"],
)
def test_gender_tables(root, tmp_path, text):
    data = read(root, genders=table(tmp_path, text))
    assert data.gender.values.tolist() == ["female", "female", "male", "male"]


def test_gender_of_a_file_may_differ_from_the_persons_other_files(root, tmp_path):
    text = "identity,file,gender\nAnn,0.png,f\nAnn,1.png,m\nBen,0.png,m\nBen,1.png,m\n"
    assert read(root, genders=table(tmp_path, text)).gender.values[:2].tolist() == ["female", "male"]


def test_accents_match_however_they_are_composed(tmp_path):
    write(tmp_path / "people" / "Rene\u0301" / "0.png")
    found = read(tmp_path / "people", genders=table(tmp_path, "identity,gender\nRen\u00e9,m\n"))
    assert found.gender.values.tolist() == ["male"]


def test_missing_genders_and_bad_files_come_in_one_error(root, tmp_path):
    (root / "Ann" / "bad.png").write_bytes(b"x")
    with pytest.raises(FolderError) as caught:
        read(root, genders=table(tmp_path, "identity,gender\nAnn,f\n"))
    assert dict(caught.value.problems) == {
        "Ann/bad.png": "is not an image, or damaged beyond recognition",
        "Ben/0.png": "has no row in the gender table",
        "Ben/1.png": "has no row in the gender table",
    }


def test_gender_is_not_asked_of_images_beyond_the_limit(root, tmp_path):
    text = "identity,file,gender\nAnn,0.png,f\nBen,0.png,m\n"
    assert read(root, limit=1, genders=table(tmp_path, text)).gender.values.tolist() == ["female", "male"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,gender\nAnn,f\n", "lacks the column identity; its columns are name, gender"),
        ("", "cannot read the gender table"),
        ("identity\nAnn\n", "lacks the column gender; its columns are identity"),
        ("identity,gender\nAnn,f\nBen,m,x\n", "cannot read the gender table.*line 3"),
        ("identity,gender\n\nAnn,f\n\nBen,1\n", "line 5: gender '1' of 'Ben' is neither"),
        ("identity,gender\nAnn,f\nBen,1\n", "line 3: gender '1' of 'Ben' is neither"),
        ("identity,gender\nAnn,\n", "line 2: gender '' of 'Ann' is neither"),
        ("identity,gender\nAnn\n", "line 2: gender '' of 'Ann' is neither"),
        ("identity,gender\nAnn,f\nAnn,m\n", "line 3: Ann/ is male, but above female"),
        ("identity,file,gender\nAnn,,f\nAnn,0.png,m\n", r"Ann/0\.png is male, but Ann is not"),
        ("identity,gender\nA\0nn,f\n", r"Ann/0\.png: has no row"),
    ],
)
def test_unusable_gender_tables_are_explained(root, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(root, genders=table(tmp_path, text))


def test_gender_tables_that_are_no_text(root, tmp_path):
    with pytest.raises(ValueError, match="UTF-8"):
        read_genders(table(tmp_path, "identity,gender\nRené,m\n", "latin-1"))
    with pytest.raises(ValueError, match="cannot read the gender table"):
        read_genders(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="cannot read the gender table"):
        read_genders(tmp_path)


def test_fingerprint_follows_content_and_names_alone(root, tmp_path):
    first = fingerprint(root)
    assert len(first) == 32
    shutil.copytree(root, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "Ann" / "0.png", (0, 0))
    (tmp_path / "copy" / ".DS_Store").write_bytes(b"x")
    assert fingerprint(tmp_path / "copy") == first

    seen = {first}
    file = root / "Ann" / "0.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    seen.add(fingerprint(root))
    file.rename(root / "Ann" / "9.png")
    seen.add(fingerprint(root))
    (root / "Ann" / "9.png").rename(root / "Ben" / "9.png")
    seen.add(fingerprint(root))
    (root / "Ben" / "9.png").unlink()
    seen.add(fingerprint(root))
    assert len(seen) == 5


def test_fingerprint_names_unreadable_files(root):
    (root / "Ann" / "broken.png").symlink_to(root / "nowhere")
    with pytest.raises(FolderError, match=r"Ann/broken\.png"):
        fingerprint(root)


def test_progress_names_the_folder(root, capsys):
    read(root)
    assert "reading people" in capsys.readouterr().err
