#!/bin/sh
# approval.sh FOLDER: fetches the plan that was shown on the pull request whose merge this run applies.
#
# Sets the output `plan`. A run that was started by hand has none: whoever starts it approves what the log shows. Needs
# gh, and the permissions actions: read and pull-requests: read. A forged plan could not start anything that the merged
# configuration does not ask for: a saved plan only ever narrows what apply would do.
set -eu

folder=$1

if [ "$GITHUB_EVENT_NAME" != push ]; then
    echo "Started by hand: no saved plan is asked for."
    exit 0
fi
head=$(gh api "repos/$GITHUB_REPOSITORY/commits/$GITHUB_SHA/pulls" --jq '.[0].head.sha // empty')
if [ -n "$head" ]; then
    run=$(gh run list --repo "$GITHUB_REPOSITORY" --workflow batchform-plan.yml --commit "$head" --status success \
        --limit 1 --json databaseId --jq '.[0].databaseId // empty')
fi
if [ -z "${run:-}" ]; then
    echo "::error title=batchform::No plan was approved for this commit: it came without a pull request, or the plan" \
        "there failed. Nothing was sent. To apply what is merged, run this workflow by hand."
    exit 1
fi
gh run download "$run" --repo "$GITHUB_REPOSITORY" --name batchform-plan --dir "$folder"
echo "plan=$folder/plan.json" >>"$GITHUB_OUTPUT"
