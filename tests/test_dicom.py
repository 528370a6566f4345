"""DICOM against pydicom's own steps, on the files that pydicom ships and on small ones written here."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_windowing, get_decoder

from radlib.datasets.dicom import DicomRef, check_window, decode, hashed, patient_of, windowed
from radlib.datasets.record import FileRef
from radlib.errors import UserError
from tests.published_files import dicom_bytes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


def shipped(name: str) -> bytes:
    return (SHIPPED / name).read_bytes()


def pixels(name: str, **options) -> np.ndarray:
    return decode(shipped(name), name, **options)


def by_pydicom(name: str, window: tuple[float, float] | None = None, function: str = "LINEAR") -> np.ndarray:
    """0..255 as pydicom's own modality and window steps give them, not yet rounded."""
    header = pydicom.dcmread(SHIPPED / name)
    if window:
        header.WindowCenter, header.WindowWidth = window
    header.VOILUTFunction = function
    values = apply_modality_lut(header.pixel_array, header)
    shown = apply_windowing(values, header)
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    low, high = (slope * limit + intercept for limit in (-(2**15), 2**15 - 1))
    return (shown - low) / (high - low) * 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("window", [(40, 80), (40, 400), (-600, 1500), (0.5, 7)])
def test_windows_equal_pydicom_s_on_real_ct(window, function):
    header = pydicom.dcmread(SHIPPED / "CT_small.dcm")
    values = apply_modality_lut(header.pixel_array, header)
    ours = windowed(values, window, function)
    assert ours.dtype == np.uint8
    assert np.abs(ours - by_pydicom("CT_small.dcm", window, function)).max() <= 0.51


def test_rescale_and_the_option_s_window_on_real_ct():
    ours = pixels("CT_small.dcm", window=(40, 400))
    assert ours.shape == (128, 128) and len(np.unique(ours)) > 50
    assert np.abs(ours - by_pydicom("CT_small.dcm", (40, 400))).max() <= 0.51


def test_the_header_s_window_is_taken_where_there_is_no_option():
    assert np.abs(pixels("MR_small.dcm") - by_pydicom("MR_small.dcm")).max() <= 0.51
    header = pydicom.dcmread(SHIPPED / "J2K_pixelrep_mismatch.dcm")
    assert list(header.WindowCenter) == [40, 40, 40] and list(header.WindowWidth) == [100, 100, 200]
    first = pixels("J2K_pixelrep_mismatch.dcm", window=(40, 100))
    assert np.array_equal(pixels("J2K_pixelrep_mismatch.dcm"), first)


def test_without_any_window_the_image_s_own_range_is_taken():
    header = pydicom.dcmread(SHIPPED / "CT_small.dcm")
    assert "WindowCenter" not in header
    values = header.pixel_array.astype(float)
    expected = (values - values.min()) / (values.max() - values.min()) * 255
    assert np.abs(pixels("CT_small.dcm") - expected).max() <= 0.51


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_every_encoding_of_one_picture_gives_the_same_pixels(name):
    assert np.array_equal(pixels(name), pixels("MR_small.dcm"))


def test_a_compression_without_its_plugin_names_file_and_plugin():
    name = "MR_small_jpeg_ls_lossless.dcm"
    if get_decoder(pydicom.uid.JPEGLSLossless).is_available:
        assert np.array_equal(pixels(name), pixels("MR_small.dcm"))
    else:
        with pytest.raises(UserError, match=rf"{name} is compressed \(JPEG-LS Lossless.*install pyjpegls"):
            pixels(name)


def test_low_is_bright_in_monochrome1():
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for extra in ({}, {"WindowCenter": 100, "WindowWidth": 50}):
        dark = decode(dicom_bytes(ramp, **extra), "x")
        bright = decode(dicom_bytes(ramp, PhotometricInterpretation="MONOCHROME1", **extra), "x")
        assert np.array_equal(bright, 255 - dark) and dark[0, 0] == 0


def test_colours_come_as_rgb():
    assert np.array_equal(
        pixels("examples_rgb_color.dcm"), pydicom.dcmread(SHIPPED / "examples_rgb_color.dcm").pixel_array
    )
    ybr = pydicom.dcmread(SHIPPED / "SC_ybr_full_422_uncompressed.dcm")
    luma = pixels("SC_ybr_full_422_uncompressed.dcm") @ np.array([0.299, 0.587, 0.114])
    stored = pydicom.pixels.pixel_array(ybr, raw=True)[..., 0]
    assert np.abs(luma - stored).max() <= 2  # Y of YBR is the luma of RGB, PS3.3 C.7.6.3.1.2
    deep = pydicom.dcmread(SHIPPED / "SC_rgb_rle_16bit.dcm").pixel_array
    assert np.array_equal(pixels("SC_rgb_rle_16bit.dcm"), deep // 256)


def test_a_frame_must_be_chosen_where_there_are_several():
    frames = pydicom.dcmread(SHIPPED / "SC_rgb_rle_2frame.dcm").pixel_array
    with pytest.raises(UserError, match="SC_rgb_rle_2frame.dcm holds 2 frames; choose one"):
        pixels("SC_rgb_rle_2frame.dcm")
    assert np.array_equal(pixels("SC_rgb_rle_2frame.dcm", frame=1), frames[1])
    with pytest.raises(UserError, match="there is no frame 2"):
        pixels("SC_rgb_rle_2frame.dcm", frame=2)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("examples_palette.dcm", "has colours of the kind 'PALETTE COLOR'"),
        ("MR_truncated.dcm", "is no readable DICOM picture .*less than expected"),
        ("reportsi.dcm", "has colours of the kind 'None'"),
        ("no_meta.dcm", "is no readable DICOM picture"),
        ("README.txt", "is no readable DICOM picture"),
        ("badVR.dcm", "badVR.dcm"),
    ],
)
def test_what_is_no_picture_is_one_sentence_with_the_name(name, sentence):
    with pytest.raises(UserError, match=sentence) as stopped:
        pixels(name)
    assert name in str(stopped.value) and "\n" not in str(stopped.value)


def test_windows_that_are_none_are_refused():
    with pytest.raises(UserError, match=r"a.dcm: window 40 / 0 is none; give the option 'window"):
        decode(dicom_bytes(np.eye(16, dtype=np.uint16), WindowCenter=40, WindowWidth=0), "a.dcm")
    for bad in ([40], "brain", [40, "80"], [True, 80], 80):
        with pytest.raises(UserError, match="option 'window' is"):
            check_window(bad)
    assert check_window([40, 80]) == (40.0, 80.0) and check_window(None) is None


def test_the_patient_is_a_salted_hash_read_without_the_pixels(tmp_path):
    data = dicom_bytes(np.eye(16, dtype=np.uint16), PatientID="ID_0a1b", PatientName="Doe^Jane")
    (tmp_path / "a.dcm").write_bytes(data)
    (tmp_path / "cut.dcm").write_bytes(data[:-400])
    one, key = patient_of(FileRef(tmp_path / "a.dcm"), salt="7")
    assert (one, key) == patient_of(FileRef(tmp_path / "cut.dcm"), salt="7")
    assert one == hashed("ID_0a1b", "7") and key == hashed("id_0a1b", "7")
    assert len(one) == 16 and one != hashed("ID_0a1b", "8") and one != hashed("ID_0a1c", "7")
    ct = pydicom.dcmread(SHIPPED / "CT_small.dcm").PatientID
    assert patient_of(FileRef(SHIPPED, "CT_small.dcm"), salt="7")[0] == hashed(ct, "7")
    (tmp_path / "b.dcm").write_bytes(dicom_bytes(np.eye(16, dtype=np.uint16)))
    with pytest.raises(UserError, match="b.dcm names no patient"):
        patient_of(FileRef(tmp_path / "b.dcm"), salt="7")
    (tmp_path / "c.dcm").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="c.dcm is no readable DICOM picture"):
        patient_of(FileRef(tmp_path / "c.dcm"), salt="7")


def test_a_reference_reads_its_file(tmp_path):
    ref = DicomRef(FileRef(SHIPPED, "CT_small.dcm"), window=(40, 400))
    values, digest = ref.read_pixels()
    assert np.array_equal(values, pixels("CT_small.dcm", window=(40, 400))) and len(digest) == 64
    assert ref.name == str(SHIPPED / "CT_small.dcm")
    with pytest.raises(UserError, match="cannot read .*none.dcm"):
        DicomRef(FileRef(tmp_path, "none.dcm")).read_pixels()


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(
        [
            "MR_small.dcm",
            "MR_small_RLE.dcm",
            "MR_small_jp2klossless.dcm",
            "SC_rgb_jpeg_dcmtk.dcm",
            "image_dfl.dcm",
        ]
    ),
    changes=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(1, 10_000),
)
def test_any_damage_ends_in_pixels_or_in_a_user_error(name, changes, length):
    data = bytearray(shipped(name))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        picture = decode(bytes(data[:length]), "damaged")
    except UserError as exc:
        assert "damaged" in str(exc) and "\n" not in str(exc)
    else:
        assert picture.dtype == np.uint8 and picture.ndim in (2, 3)
