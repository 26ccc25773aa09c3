#!/bin/sh
# remote.sh: allows this job to push the state. The job's own token cannot, unless the project allows it (Settings > CI/CD >
# Job token permissions). BATCHFORM_STATE_TOKEN is a project access token with the scope write_repository.
#
# git asks the helper below for the token, which stays in the environment: not in .git/config, nor in any arguments.
set -eu

if [ -n "${BATCHFORM_STATE_TOKEN:-}" ]; then
    host="https://$CI_SERVER_HOST"
    git remote set-url --push origin "$host/$CI_PROJECT_PATH.git"
    git config "credential.$host.username" batchform
    git config --replace-all "credential.$host.helper" '' # drops the helpers of the machine
    # shellcheck disable=SC2016 # git's shell expands the variable, when it asks
    git config --add "credential.$host.helper" '!f() { [ "$1" = get ] && printf "password=%s\n" "$BATCHFORM_STATE_TOKEN"; }; f'
fi
