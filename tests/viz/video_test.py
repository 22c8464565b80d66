"""Videos read back."""

import base64
import subprocess

import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
from browser import browsing
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


def soft_disc(count: int, height: int = 66, width: int = 84) -> np.ndarray:
    """u8 [count, H, W, 4], straight alpha: a disc with a soft edge, one colour up to it, black where nothing is seen."""
    y, x = np.mgrid[:height, :width]
    alpha = np.clip((20 + np.arange(count)[:, None, None] - np.hypot(y - height / 2, x - width / 2)) / 6, 0, 1)
    colour = np.where(alpha[..., None] > 0, np.array([200, 120, 60]), 0)
    return np.rint(np.concatenate([colour, 255 * alpha[..., None]], axis=-1)).astype(np.uint8)


def decoded(path, shape) -> np.ndarray:
    """All frames as RGBA, by the decoder that knows alpha."""
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    line = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *decoder, "-i", path, "-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    return np.frombuffer(subprocess.run(line, capture_output=True, check=True).stdout, np.uint8).reshape(-1, *shape)


def over(rgba: np.ndarray, colour: float) -> np.ndarray:
    alpha = rgba[..., 3:] / 255.0
    return rgba[..., :3] * alpha + colour * (1 - alpha)


def test_alpha_is_straight_in_every_kind_that_has_it(tmp_path):
    pictures = soft_disc(3)
    written = video.write(pictures, tmp_path, "clip", fps=24, total=3, kinds=("webm", "mov", "png"))
    assert [path.name for path in written] == ["clip.webm", "clip.mov", "clip"]
    for path, most in zip(written[:2], (1.0, 0.2), strict=True):
        found = decoded(path, pictures.shape[1:])
        assert len(found) == 3
        edge = (pictures[..., 3] > 80) & (pictures[..., 3] < 200)
        assert np.abs(found[edge].astype(int) - pictures[edge]).mean() < 6, "colour is not weighted by alpha, which is half here"
        assert np.abs(found[..., 3].astype(int) - pictures[..., 3]).max() < 16
        for colour in (0, 255):
            assert np.abs(over(found, colour) - over(pictures, colour)).mean() < most
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(p)) for p in sorted(written[2].iterdir())]), pictures)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "clip.mov", "clip.webm"]


@pytest.mark.parametrize("kind", ["webm", "mov"])
def test_without_alpha_the_kinds_are_opaque(tmp_path, kind):
    (path,) = video.write(list(frames(2)), tmp_path, "clip", fps=24, total=2, kinds=(kind,))
    found = decoded(path, (34, 48, 4))
    np.testing.assert_allclose(found[..., :3].mean((1, 2, 3)), [20, 60], atol=3)
    assert (found[..., 3] == 255).all()


def test_a_video_that_fails_leaves_the_one_before(tmp_path):
    video.write(list(frames(2)), tmp_path, "clip", fps=8, total=2, kinds=("mp4", "png"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    def broken():
        yield from frames(1, 16, 16)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        video.write(broken(), tmp_path, "clip", fps=8, total=2, kinds=("mp4", "png"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_an_encoder_that_fails_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_PRORES", ["-profile:v", "nonsense"])
    with pytest.raises(OSError, match="clip.mov: the video cannot be written: ") as e:
        video.write(list(frames(4, 256, 256)) * 10, tmp_path, "clip", fps=8, total=40, kinds=("mov",))
    assert len(str(e.value).splitlines()) == 1 and not list(tmp_path.iterdir())


def test_no_frame_and_no_such_kind_are_told(tmp_path):
    with pytest.raises(ValueError, match="a video needs a frame"):
        video.write([], tmp_path, "clip", fps=8, total=0)
    with pytest.raises(ValueError, match="the kinds are mp4, webm, mov, png; got 'gif'"):
        video.write([], tmp_path, "clip", fps=8, total=0, kinds=("gif",))


@pytest.mark.slow
def test_a_browser_shows_the_alpha_of_a_webm_as_straight(tmp_path):
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[8:56, 8:56] = (200, 120, 60, 128)
    (film,) = video.write([picture] * 6, tmp_path, "clip", fps=12, total=6, kinds=("webm",))
    data = base64.b64encode(film.read_bytes()).decode()
    with browsing() as browser:
        page = browser.new_page()
        page.set_content(
            f'<body style="margin:0;background:#fff"><video id="film" muted src="data:video/webm;base64,{data}"></video></body>'
        )
        page.wait_for_function("document.getElementById('film').readyState >= 2", timeout=240_000)
        page.wait_for_timeout(500)
        page.screenshot(path=tmp_path / "page.png")
    seen = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    share = 128 / 255
    np.testing.assert_allclose(seen[32, 32], np.array([200, 120, 60]) * share + 255 * (1 - share), atol=4)
    assert (seen[2, 2] == 255).all()
