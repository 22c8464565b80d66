"""Captures on disk held against what they must be, published ones and those of own rigs: `ava verify`.

`tree` finds captures and runs everything; `decoder`, `headset` and `multiface` look at one kind of folder each; `contents` decodes
members of zips, or files; `findings` is what all of them write to, `report` what the user gets of it.
"""
