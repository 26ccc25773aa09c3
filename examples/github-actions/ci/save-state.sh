#!/bin/sh
# save-state.sh FOLDER: commits and pushes the state and the journal in FOLDER, a checkout of the state's branch.
#
# If another run pushed first, the script merges both states, so that no outcome is lost. If they cannot be merged, it fails and
# leaves the branch as it is. It needs git and batchform. It sends nothing to the service. Running it again changes nothing.
set -eu

folder=$1
branch=${BATCHFORM_STATE_BRANCH:-batchform-state}
state=batchform.state.json
tip=refs/remotes/origin/$branch

cd "$folder"
theirs=$(mktemp -d)
trap 'rm -rf "$theirs"' EXIT

if [ ! -e "$state" ] && [ -n "$(git ls-files -- "$state")" ]; then
    echo "The branch has a state, but $folder has none. The branch was not changed. Check out the branch again." >&2
    exit 1
fi

commit() {
    for file in "$state" "$state.journal"; do
        # A journal is left only by an interrupted run: the next run recovers it. Locks and backups are not saved.
        if [ -e "$file" ] || git ls-files --error-unmatch "$file" >/dev/null 2>&1; then
            git add --force --all -- "$file"
        fi
    done
    if git diff --cached --quiet; then return 1; fi
    git -c user.name="${BATCHFORM_AUTHOR:-batchform}" -c user.email="${BATCHFORM_EMAIL:-batchform@localhost}" \
        commit --quiet --message "Record what batchform knows [skip ci]" --message "${BATCHFORM_RUN:-}"
}

if ! commit && git merge-base --is-ancestor HEAD "$tip" 2>/dev/null; then
    echo "The state has not changed."
    exit 0
fi

tries=0
until problem=$(git push --quiet origin "HEAD:refs/heads/$branch" 2>&1); do # a rejected push is normal: print it at the end only
    tries=$((tries + 1))
    git fetch --quiet origin "+refs/heads/$branch:$tip"
    if [ "$tries" -gt 10 ] || git merge-base --is-ancestor "$tip" HEAD; then
        echo "$problem" >&2
        echo "The state could not be pushed, and no other run is the cause. It is saved as an artefact. Before the next" >&2
        echo "apply, run \`batchform state merge\` with it; or do nothing: that apply refreshes from the account." >&2
        exit 1
    fi
    echo "Another run saved its state first: merging both."
    rm -f "$theirs"/*
    found=$(git ls-tree --name-only "$tip" -- "$state" "$state.journal")
    for file in $found; do git show "$tip:$file" >"$theirs/$file"; done
    if [ -n "$found" ]; then # safety: a run that was killed saved only a journal, which must be kept too
        if ! batchform state merge "$state" "$theirs/$state" --out "$state"; then
            echo "The state of this run was not saved. The branch still has the state of the other run; this one is saved" >&2
            echo "as an artefact. If both were first runs, check in the account that every batch this run started is" >&2
            echo "processing or completed. Then run apply again: it adopts those batches." >&2
            exit 1
        fi
        rm -f "$state.journal" # the merged state contains both journals
    fi
    git reset --quiet "$tip" # safety: not --soft, which would undo what others changed in other files of the branch
    commit || true
done
echo "The state is saved on the branch $branch."
