"""Videos read back."""

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from ava_jax.viz import video


def frames(count: int, height: int = 33, width: int = 47):
    for i in range(count):
        yield np.full((height, width, 3), 40 * i + 20, np.uint8)


@pytest.mark.filterwarnings("ignore:os.fork")  # of the reader below
def test_mp4_and_pngs_hold_the_frames(tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "000009.png").write_bytes(b"of a longer clip before")
    film, pictures = video.write(frames(4), tmp_path, "clip", fps=8, total=4)
    with imageio.get_reader(film) as reader:
        back = np.stack([np.asarray(frame) for frame in reader])
    assert back.shape == (4, 34, 48, 3), "both sides even"
    np.testing.assert_allclose(back.mean((1, 2, 3)), [20, 60, 100, 140], atol=3)
    assert sorted(p.name for p in pictures.iterdir()) == [f"{i:06d}.png" for i in range(4)]
    assert np.asarray(Image.open(pictures / "000002.png")).shape == (33, 47, 3)


@pytest.mark.filterwarnings("ignore:os.fork")  # of the reader below
def test_alpha_is_kept_in_pngs_and_black_in_the_video(tmp_path):
    picture = np.full((32, 48, 4), (200, 200, 200, 255), np.uint8)
    picture[:, 24:, 3] = 0
    film, pictures = video.write([picture] * 2, tmp_path, "clip", fps=12.5, total=2)
    np.testing.assert_array_equal(np.asarray(Image.open(pictures / "000001.png")), picture)
    with imageio.get_reader(film) as reader:
        assert reader.get_meta_data()["fps"] == 12.5
        frame = np.asarray(reader.get_data(1))
    assert abs(frame[:, :20].mean() - 200) < 5 and frame[:, 28:].mean() < 5


def test_frames_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frame 1 is"):
        video.write([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], tmp_path, "clip", fps=8, total=2)
