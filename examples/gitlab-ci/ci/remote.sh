#!/bin/sh
# remote.sh: allows this job to push the state. The job's own token cannot, unless the project allows it (Settings > CI/CD >
# Job token permissions). BATCHFORM_STATE_TOKEN is a project access token with the scope write_repository.
set -eu

if [ -n "${BATCHFORM_STATE_TOKEN:-}" ]; then
    git remote set-url --push origin "https://batchform:$BATCHFORM_STATE_TOKEN@$CI_SERVER_HOST/$CI_PROJECT_PATH.git"
fi
