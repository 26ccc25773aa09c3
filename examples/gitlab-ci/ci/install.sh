#!/bin/sh
# install.sh: installs batchform, at the commit BATCHFORM_COMMIT of BATCHFORM_REPOSITORY, into the Python of this job.
#
# All packages come from the lock files of that commit, with hashes. An image that has batchform already is left as it is.
set -eu

if command -v batchform >/dev/null; then exit 0; fi

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git init --quiet "$source"
git -C "$source" fetch --quiet --depth=1 "$BATCHFORM_REPOSITORY" "$BATCHFORM_COMMIT"
git -C "$source" checkout --quiet --detach FETCH_HEAD

install() { python3 -m pip install --quiet --disable-pip-version-check "$@"; }

set -- -r "$source/requirements/runtime.txt" -r "$source/requirements/build.txt"
case "${BATCHFORM_STATE:-}" in
s3://* | gs://* | az://*) set -- "$@" -r "$source/requirements/remote.txt" ;; # what a state in a store needs
esac
install --require-hashes --only-binary :all: "$@"
install --no-deps --no-build-isolation "$source"
