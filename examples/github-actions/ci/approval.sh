#!/bin/sh
# approval.sh FOLDER: downloads the plan of the pull request whose merge this run applies.
#
# Sets the outputs `plan` and `pull-request`. A run that was started by hand has neither: the plan of that run is the only one
# that is approved. The script needs gh, and the permissions actions: read and pull-requests: read. A saved plan only narrows
# what is started, so a forged plan cannot start a batch that the merged configuration does not declare.
set -eu

folder=$1

if [ "$GITHUB_EVENT_NAME" != push ]; then
    echo "Started by hand: the plan of a pull request is not needed."
    exit 0
fi
found=$(gh api "repos/$GITHUB_REPOSITORY/commits/$GITHUB_SHA/pulls" --jq '.[0] | select(.) | "\(.number) \(.head.sha)"')
number=${found% *}
head=${found#* }
if [ -n "$found" ]; then
    echo "pull-request=$number" >>"$GITHUB_OUTPUT"
    run=$(gh run list --repo "$GITHUB_REPOSITORY" --workflow batchform-plan.yml --commit "$head" --status success \
        --limit 1 --json databaseId --jq '.[0].databaseId // empty')
fi
if [ -z "${run:-}" ]; then
    echo "::error title=batchform::No plan was approved for this commit: it has no pull request, or the plan of the" \
        "pull request failed. Nothing was sent. To apply this commit, start this workflow by hand."
    exit 1
fi
gh run download "$run" --repo "$GITHUB_REPOSITORY" --name batchform-plan --dir "$folder"
echo "plan=$folder/plan.json" >>"$GITHUB_OUTPUT"
