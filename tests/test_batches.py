"""Batches: the arithmetic of augmentation and of parts."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from radlib.data import batches
from radlib.data.packing import release


def one_map(**values) -> torch.Tensor:
    maps = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    for place, value in values.items():
        maps[0, int(place[1]), int(place[2])] = value
    return maps


@given(st.integers(1, 200), st.integers(2, 64), st.integers(0, 10))
def test_shuffled_batches_hold_every_row_once(count, batch_size, seed):
    rows = np.arange(1000, 1000 + count)
    parts = batches.shuffled(rows, batch_size, torch.Generator().manual_seed(seed))
    assert sorted(np.concatenate(parts)) == list(rows)
    sizes = [len(p) for p in parts]
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1


def test_shift_of_a_tenth_moves_a_tenth_of_the_width():
    image = torch.rand(1, 1, 20, 20)
    moved = batches.augment(image, one_map(m02=0.2))
    expected = ndimage.shift(image[0, 0].numpy(), (0, -2), order=1, mode="nearest")
    np.testing.assert_allclose(moved[0, 0].numpy(), expected, atol=1e-5)


def test_flip_mirrors():
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(batches.augment(image, one_map(m00=-1.0)), image.flip(3), atol=1e-5, rtol=0)


def test_drawn_maps_stay_within_the_published_limits():
    maps = batches.draw_augmentation(4000, "full", torch.Generator().manual_seed(0))
    shift = maps[:, :, 2].abs()
    assert 0.19 < shift.max() <= 0.2
    scale = maps[:, :, 0].norm(dim=1)
    assert scale.min() >= 0.9 and scale.max() <= 1.1
    angle = torch.rad2deg(torch.atan2(maps[:, 1, 0].abs(), maps[:, 0, 0].abs()))
    assert 9 < angle.max() <= 10
    assert (maps[:, 0, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_large_sets_are_neither_turned_nor_flipped():
    maps = batches.draw_augmentation(500, "shifts", torch.Generator().manual_seed(0))
    assert (maps[:, 0, 1] == 0).all() and (maps[:, 0, 0] > 0).all()
    assert batches.draw_augmentation(5, "none", torch.Generator()) is None


def resident(name: str) -> int:
    """kB of this process's memory that are pages of the mapped file `name`."""
    _, _, about = Path("/proc/self/smaps").read_text().partition(name)
    return int(about.partition("Rss:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="only Linux says what is resident")
def test_batches_of_a_memory_map_leave_nothing_of_it_in_memory(tmp_path):
    file = tmp_path / "sparse.npy"
    images = np.lib.format.open_memmap(file, "w+", np.uint8, (2000, 64, 64, 1))
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape)
    release(images)
    rows = np.random.default_rng(1).permutation(2000)[:1000]
    batch = batches.gather(images, rows, 64)
    assert resident(file.name) < 500
    assert np.array_equal((batch.cpu() * 255).round().numpy(), np.moveaxis(images[rows], 3, 1))
    assert resident(file.name) > 3000


def test_gather_scales_to_one_and_resizes():
    images = np.full((3, 8, 8, 1), 255, np.uint8)
    batch = batches.gather(images, np.array([2, 0]), 4)
    assert batch.shape == (2, 1, 4, 4)
    torch.testing.assert_close(batch.cpu(), torch.ones(2, 1, 4, 4))


def test_the_next_item_is_made_while_one_is_used():
    """It waits for nobody: the second is made although the first is still held; and failures arrive."""
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number
        raise OSError("disk")

    found = []
    with pytest.raises(OSError, match="disk"):
        for number in batches.ahead(items()):
            found.append(number)
            assert made[min(number + 1, 2)].wait(10)
            assert number or not made[2].is_set()
    assert found == [0, 1, 2]
