#!/bin/sh
# save-state.sh FOLDER: commits and pushes the state and the journal in FOLDER, a checkout of the state's branch.
#
# If another run pushed first, the script merges both states, so that no outcome is lost. It needs git and batchform. It
# sends nothing to the service. Running it again changes nothing.
set -eu

folder=$1
branch=${BATCHFORM_STATE_BRANCH:-batchform-state}
state=batchform.state.json
tip=refs/remotes/origin/$branch

cd "$folder"

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
until git push --quiet origin "HEAD:refs/heads/$branch"; do
    tries=$((tries + 1))
    git fetch --quiet origin "+refs/heads/$branch:$tip"
    if [ "$tries" -gt 10 ] || git merge-base --is-ancestor "$tip" HEAD; then
        echo "The state could not be pushed, and no other run is the cause. It is saved as an artefact. Before the next" >&2
        echo "apply, run \`batchform state merge\` with it; or do nothing: that apply refreshes from the account." >&2
        exit 1
    fi
    echo "Another run saved its state first: merging both."
    theirs=$(mktemp -d)
    for file in "$state" "$state.journal"; do
        if git cat-file -e "$tip:$file" 2>/dev/null; then git show "$tip:$file" >"$theirs/$file"; fi
    done
    if [ -e "$theirs/$state" ]; then
        batchform state merge "$state" "$theirs/$state" --out "$state"
        rm -f "$state.journal" # the merged state contains both journals
    fi
    rm -rf "$theirs"
    git reset --quiet --soft "$tip"
    commit || true
done
echo "The state is saved on the branch $branch."
