"""What `ava eval` is told to score instead of what a run held out."""

import json

import pytest
from capture_splits import eval_splits, make_config, prepare, read_split, views

from ava_jax.captures import splits
from ava_jax.tasks.ava256.data import rules, source, strangers

NOTHING_HELD_OUT = {"data.held_out.segments": ()}


def ruled(tiny_capture, held_out=None, **rule):
    """A config and what was prepared before the rule was given."""
    config = make_config(tiny_capture, **(NOTHING_HELD_OUT if held_out is None else held_out))
    assets = prepare(config)
    with config.unlocked():
        config.eval.update(rule)
    return config, assets


def test_a_run_that_held_nothing_out_is_scored_on_all(tiny_capture):
    config, assets = ruled(tiny_capture)
    assert eval_splits(config) == ()
    trained = set(views(read_split(config, splits.TRAIN, assets)))
    config, _ = ruled(tiny_capture, all=True)
    assert eval_splits(config) == (splits.SELECTED,) == eval_splits(ruled(tiny_capture, every=1)[0])
    found = read_split(config, splits.SELECTED, assets)
    assert set(views(found)) == trained and len(found) == 2 * 3 * 6
    assert "segmentation" in found[0]


def test_segments_cameras_people_and_every_so_many_frames(tiny_capture):
    config, assets = ruled(tiny_capture)
    captures = source.load_captures(config)
    one = captures.captures[0]
    segment, camera = one.segments[-1], one.cameras[1]
    frames = [int(frame) for frame, of in zip(one.frames, one.segments, strict=True) if of == segment]
    config, _ = ruled(tiny_capture, people=("SYN001",), segments=(segment,), cameras=(camera,), every=2)
    found = views(read_split(config, splits.SELECTED, assets))
    assert found and set(found) <= {(0, int(camera), frame) for frame in frames[::2]}
    config, _ = ruled(tiny_capture, every=4)
    assert {frame for _, _, frame in views(read_split(config, splits.SELECTED, assets))} == {
        int(capture.frames[i]) for capture in captures for i in (0, 4)
    }


def test_what_was_held_out_and_what_was_not_are_both_selected(tiny_capture):
    held_out = {"data.held_out.segments": ("EXP_free_face",), "data.held_out.cameras": ("400008",)}
    config, assets = ruled(tiny_capture, held_out, all=True)
    seen = views(read_split(config, splits.SELECTED, assets))
    assert {camera for _, camera, _ in seen} >= {400008} and len(seen) == 35, "all but the image that is missing on purpose"
    with pytest.raises(ValueError, match="split must be train, selected or predict; got 'unseen_frames'"):
        read_split(config, splits.UNSEEN_FRAMES, assets)


def test_a_file_of_splits_names_what_is_held_out(tiny_capture, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"validation": {"cameras": ["400022"]}, "test": {"people": ["SYN002"]}}))
    config, assets = ruled(tiny_capture, held_out_by=str(tmp_path / "split.json"))
    assert eval_splits(config) == (splits.UNSEEN_CAMERAS, splits.TEST_PEOPLE)
    assert {(who, camera) for who, camera, _ in views(read_split(config, splits.UNSEEN_CAMERAS, assets))} == {(0, 400022)}
    assert {who for who, _, _ in views(read_split(config, splits.TEST_PEOPLE, assets))} == {1}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"people": ("SYN01",)}, "--people: no capture has SYN01; of 4, the nearest are SYN001"),
        ({"segments": ("EXP_brow",)}, "--segments: no capture has EXP_brow; .* EXP_brows"),
        ({"cameras": ("40015",)}, "--cameras: no capture has 40015; .* 400015"),
        ({"every": 0}, "--every must be at least 1; got 0"),
        ({"all": True, "held_out_by": "ava256"}, "--held_out_by names what is scored, and so do --all"),
        ({"held_out_by": "ava265"}, "--held_out_by=ava265: must be an installed split .* Did you mean ava256?"),
    ],
)
def test_a_mistake_is_named_before_anything_is_scored(tiny_capture, rule, message):
    config, assets = ruled(tiny_capture, **rule)
    with pytest.raises(ValueError, match=message):
        strangers.check(source.load_captures(config), config, assets)


def test_what_fits_nothing_is_refused(tiny_capture):
    config, _ = ruled(tiny_capture)
    captures = source.load_captures(config)
    one, other = captures.captures[:2]
    lacking = sorted({*other.cameras} - {*one.cameras})[0]
    with pytest.raises(ValueError, match=f"nothing of the 2 captures fits all frames; people SYN001; cameras {lacking}"):
        rules.Rule(people=("SYN001",), cameras=(lacking,)).require(captures)
