"""Every odd image file ends in pixels by the stated rule or in one sentence that names the file."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from radlib.data.images import decode_image, decode_masks, inner_box, letterbox, to_square
from radlib.errors import UserError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def test_grey_and_colour_files_give_the_channels_asked_for():
    colour = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(encoded(RAMP), "x", colour=False), RAMP)
    assert np.array_equal(decode_image(encoded(RAMP), "x", colour=True), np.stack([RAMP] * 3, axis=-1))
    assert np.array_equal(decode_image(encoded(colour), "x", colour=True), colour)
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(decode_image(encoded(colour), "x", colour=False) - luma).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_from_the_image_s_own_range(kind):
    deep = np.linspace(1000, 3000, 256).reshape(16, 16).astype(np.uint16)
    pixels = decode_image(encoded(deep, kind), "x", colour=False)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.rint((deep - 1000.0) / 2000 * 255))
    assert decode_image(encoded(deep, kind), "x", colour=True).shape == (16, 16, 3)


def test_float_images_are_scaled_and_must_be_numbers():
    values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(
        decode_image(encoded(values, "TIFF"), "x", colour=False), np.rint((values + 1) * 127.5)
    )
    values[3, 3] = np.nan
    with pytest.raises(UserError, match="x.tif holds values that are no numbers"):
        decode_image(encoded(values, "TIFF"), "x.tif", colour=False)


def test_transparent_pixels_count_as_black():
    alpha = np.full((16, 16), 255, dtype=np.uint8)
    alpha[:8] = 0
    alpha[8:10] = 128
    with_alpha = Image.merge("LA", [Image.new("L", (16, 16), 200), Image.fromarray(alpha)])
    for image in (with_alpha, with_alpha.convert("RGBA")):
        pixels = decode_image(encoded(image), "x", colour=False)
        assert (pixels[:8] == 0).all() and (pixels[10:] == 200).all()
        assert np.abs(pixels[8:10].astype(int) - 100).max() <= 1


def test_palettes_are_looked_up():
    indexed = Image.fromarray(np.tile(np.arange(2, dtype=np.uint8), (16, 8)), mode="P")
    indexed.putpalette([10, 10, 10, 250, 250, 250])
    assert set(np.unique(decode_image(encoded(indexed), "x", colour=False))) == {10, 250}


def test_a_noted_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half
    data = encoded(RAMP, "PNG", exif=exif)
    assert np.array_equal(decode_image(data, "x", colour=False), RAMP[::-1, ::-1])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "scan.png is empty"),
        (
            b"<html>404 not found</html>",
            "scan.png is no readable image .*replace or delete it",
        ),
        (encoded(NOISE)[:2000], "scan.png is no readable image"),
        (encoded(np.tile(RAMP, (20, 20)), "JPEG")[:2000], "scan.png is no readable image"),
        (encoded(RAMP[:1, :1]), "scan.png is 1 x 1 px; 8 px are the least"),
        (encoded(RAMP[:, :7]), "scan.png is 7 x 16 px"),
    ],
    ids=["empty", "html", "half a PNG", "half a JPEG", "1 x 1", "7 x 16"],
)
def test_damaged_files_are_named_with_the_remedy(data, sentence):
    with pytest.raises(UserError, match=sentence):
        decode_image(data, "scan.png", colour=False)


def test_stacks_are_refused_not_cut_to_their_first_picture():
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    with pytest.raises(UserError, match="stack.tif holds 2 pictures; export the one"):
        decode_image(
            encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "stack.tif", colour=False
        )


def test_gigantic_pictures_are_refused():
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 200_000, 200_000, 8, 0, 0, 0, 0)
    with pytest.raises(UserError, match="huge.png is no readable image"):
        decode_image(header + b"\0\0\0\0", "huge.png", colour=False)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF"]),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(1, 5000),
)
def test_any_damage_ends_in_pixels_or_in_a_user_error(kind, changes, length):
    data = bytearray(encoded(np.tile(RAMP, (2, 2)), kind))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        pixels = decode_image(bytes(data[:length]), "damaged", colour=False)
    except UserError as exc:
        assert "damaged" in str(exc)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 2


def square(top: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((32, 24), dtype=np.uint8)
    mask[top : top + 8, 4:12] = value
    return mask


def test_several_masks_are_united_and_codings_agree():
    files = [(encoded(square(0, 255)), "m"), (encoded(square(16, 1)), "m1"), (encoded(square(4) > 0), "m2")]
    expected = (square(0) > 0) | (square(16) > 0) | (square(4) > 0)
    assert np.array_equal(decode_masks(files, (32, 24)), expected)
    jpeg = decode_masks([(encoded(square(8), "JPEG", quality=60), "m.jpg")], (32, 24))
    assert np.abs(jpeg.astype(int) - (square(8) > 0)).mean() < 0.02


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="m.png has 24 x 32 px, its image 16 x 16 px"):
        decode_masks([(encoded(square(0)), "m.png")], (16, 16))
    with pytest.raises(UserError, match=r"m.png is no mask \(largest value 7\)"):
        decode_masks([(encoded(square(0, 7)), "m.png")], (32, 24))


def test_a_mask_of_several_labels_is_refused_but_smooth_edges_are_not():
    labels = square(0) // 255 * 255 + square(16) // 255 * 170
    with pytest.raises(UserError, match=r"m.png holds several labels \(64 pixels have the value 170\)"):
        decode_masks([(encoded(labels), "m.png")], (32, 24))
    smooth = Image.fromarray(np.kron(square(8), np.ones((4, 4), np.uint8))).resize((61, 83))
    assert ((np.asarray(smooth) > 32) & (np.asarray(smooth) < 224)).sum() > 50
    assert decode_masks([(encoded(np.asarray(smooth)), "m.png")], (83, 61)).any()


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 60), width=st.integers(8, 60))
def test_letterboxing_moves_the_image_and_changes_nothing_in_it(height, width):
    pixels = np.random.default_rng(0).integers(1, 255, (height, width, 3), dtype=np.uint8)
    square = letterbox(pixels)
    assert square.shape == (max(height, width),) * 2 + (3,)
    assert np.array_equal(square[inner_box((height, width))], pixels)
    assert (square > 0).sum() == pixels.size
    rows, columns = np.nonzero(square[..., 0])
    margins = (rows.min(), len(square) - 1 - rows.max()), (columns.min(), len(square) - 1 - columns.max())
    assert all(abs(first - last) <= 1 for first, last in margins)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 60), width=st.integers(8, 60), size=st.integers(8, 40), grey=st.integers(0, 255))
def test_stretching_keeps_a_flat_image_flat(height, width, size, grey):
    for shape in ((height, width), (height, width, 3)):
        stretched = to_square(np.full(shape, grey, dtype=np.uint8), size, "stretch")
        assert stretched.shape == (size, size, 3 if len(shape) == 3 else 1)
        assert (stretched == grey).all()


def test_shrinking_averages_instead_of_skipping():
    """One-pixel stripes become their mean; without antialiasing they would become 0 or 255."""
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    assert np.abs(to_square(stripes, 8, "stretch").astype(int) - 127).max() < 15
