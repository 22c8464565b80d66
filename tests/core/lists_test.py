"""Lists as users write them."""

import pytest

from ava_jax.core import lists


@pytest.mark.parametrize(
    "text",
    ["a,b", "a, b", " a ,b,", '("a","b")', '["a", "b"]', "('a', 'b',)", '"a","b"', "(a,b)", "[a, b]"],
)
def test_all_ways_to_write_two_words(text):
    assert lists.parse(text) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("", ()),
        ("()", ()),
        ("[]", ()),
        ("EXP_jaw_open", ("EXP_jaw_open",)),
        ("400008", ("400008",)),
        ("(400008, 400029)", ("400008", "400029")),
        ("007", ("007",)),
        ("1e5", ("1e5",)),
        ("('a,b',)", ("a,b",)),
        (r"decoder/.{1,2}/bias,(encoder|decoder)/[^,]*", (r"decoder/.{1,2}/bias", "(encoder|decoder)/[^,]*")),
        ("(encoder|decoder)/.*(bias)", ("(encoder|decoder)/.*(bias)",)),
        (r"a\(,b", (r"a\(", "b")),
        ("l'avatar", ("l'avatar",)),
    ],
)
def test_what_is_written_is_read(text, elements):
    assert lists.parse(text) == elements


@pytest.mark.parametrize(
    ("value", "kind", "elements"),
    [
        (400008, str, ("400008",)),
        ((400008, "400029"), str, ("400008", "400029")),
        ([3, "5"], int, (3, 5)),
        ("3,5", int, (3, 5)),
        (None, str, ()),
        (("a,b",), str, ("a,b",)),  # an element is an element
    ],
)
def test_values_of_config_files(value, kind, elements):
    assert lists.read("config.x", value, kind) == elements


@pytest.mark.parametrize(("value", "kind"), [(1.5, str), (True, str), ((("a",),), str), ("x", int), ("1.5", int), ("'a", str)])
def test_what_is_no_list_of_that_kind_is_refused_by_name(value, kind):
    with pytest.raises(ValueError, match="config.x"):
        lists.read("config.x", value, kind)
