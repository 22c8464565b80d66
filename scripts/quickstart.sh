#!/usr/bin/env bash
# From a clean clone to a trained, rendered avatar: the example of ava256, whose options it takes.
exec "$(dirname "${BASH_SOURCE[0]}")/examples/ava256.sh" "$@"
