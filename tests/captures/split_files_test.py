"""Files of splits: the published one, those of users, and what is refused in one line."""

import json

import pytest

from ava_jax.captures import split_files
from ava_jax.captures.split_files import Part, Split

HELD_OUT = "BDF920 BXQ083 CPP930 DPE040 GZU008 NCC597 NCU289 NNQ107 ONK818 PGO261 TXE513 UIQ957 UMQ592 YIK625 ZEL435 ZUS575"


def test_the_published_split():
    split = split_files.load("ava256")
    assert sorted(split.test.people) == HELD_OUT.split() and len(set(split.test.people)) == 16
    assert split.validation == Part(segments=("EXP_free_face",)) and split.train == Part() and split.may_lack
    split.require({"AAA001"}, {"EXP_other"}, {"400008"})  # a part of the data set is at hand


JSON = {
    "train": {"people": ["AAA001"]},
    "validation": {"segments": ["EXP_free_face"], "cameras": [400008]},
    "test": {"people": ["CCC003"], "segments": ["EXP_ROM"]},
}
CSV = """split,kind,name
train,person,AAA001

validation, segment, EXP_free_face
validation,camera,400008
test,person,CCC003
test,segment,EXP_ROM
"""
EXPECTED = {
    "train": Part(people=("AAA001",)),
    "validation": Part(segments=("EXP_free_face",), cameras=("400008",)),
    "test": Part(people=("CCC003",), segments=("EXP_ROM",)),
}


def test_json_and_csv_say_the_same(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(JSON | {"about": "mine"}))
    (tmp_path / "mine.csv").write_text(CSV)
    for name in ("mine.json", "mine.csv"):
        assert split_files.load(str(tmp_path / name)) == Split(source=str(tmp_path / name), **EXPECTED)
    (tmp_path / "lax.csv").write_text(CSV + "absent,allowed,\n")
    assert split_files.load(str(tmp_path / "lax.csv")).may_lack
    assert split_files.load("") == Split()


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.json", "[]", 'must be like {"test": {"people": ["CCC003"]}}'),
        ("a.json", '{"tests": {}}', "has a key tests; it may have train, validation, test, absent, about. Did you mean test?"),
        ("a.json", '{"test": {"persons": []}}', "has a key test.persons; it may have people, segments, cameras"),
        ("a.json", '{"test": {"people": "AAA001"}}', "test.people must be a list of names, as in [\"AAA001\"]; got 'AAA001'"),
        ("a.json", '{"test": ["AAA001"]}', "test must have lists of people, segments and cameras"),
        ("a.json", '{"absent": "ignored"}', '"absent" must be "allowed" or "refused"; got \'ignored\''),
        ("a.json", '{"train": {"segments": ["E"]}}', "train lists people alone"),
        ("a.json", '{"validation": {"people": ["A"]}, "test": {"people": ["A"]}}', "A is in validation.people and in test.people"),
        ("a.json", "{", "must be JSON; line 1"),
        ("a.csv", "split,kind\ntest,person\n", "line 1: must begin with the line split,kind,name"),
        ("a.csv", "split,kind,name\ntest,people,AAA001\n", "line 2: must be train, validation or test; person, segment or camera; a name"),
        ("absent.json", None, "cannot be read"),
    ],
)
def test_a_file_that_is_malformed_is_named_with_what_it_must_hold(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        split_files.load(str(tmp_path / name))
    assert words in str(error.value), str(error.value)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_names_that_no_capture_has_are_refused():
    with pytest.raises(ValueError, match=r"config.data.split=ava265: must be an installed split \(ava256\).* Did you mean ava256\?"):
        split_files.load("ava265")
    split = Split(source="mine.json", **EXPECTED)
    split.require({"AAA001", "CCC003"}, {"EXP_free_face", "EXP_ROM"}, {"400008"})
    with pytest.raises(ValueError, match="config.data.split=mine.json, test.people: no capture has CCC003; of 2, the nearest are CCC004"):
        split.require({"AAA001", "CCC004"}, {"EXP_free_face", "EXP_ROM"}, {"400008"})
    with pytest.raises(ValueError, match="validation.cameras: no capture has 400008"):
        split.require({"AAA001", "CCC003"}, {"EXP_free_face", "EXP_ROM"}, {"400009"})
