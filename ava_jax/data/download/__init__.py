"""Downloads of many files over HTTP: parallel, resumable, verified, remembered in a manifest. Knows no data set.

`engine` is what others use: `Item`s (a path below a folder, an URL, perhaps the members of a zip to take) go in, files and a report come
out. Below it: `client` (requests, retries), `whole` and `subset` (one file, one zip of chosen members), `zip_listing` (a zip's directory,
local or remote), `verify`, `manifest`, `paths`.
"""
