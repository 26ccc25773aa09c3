#!/bin/sh
# comment.sh FILE: writes the plan as a note on the merge request, or updates an earlier note.
#
# BATCHFORM_COMMENT_TOKEN is a project access token with the scope api. Without it (as on every fork), no note is written:
# the plan is in the log, and the Terraform report shows its numbers in the merge request.
set -eu

if [ -z "${BATCHFORM_COMMENT_TOKEN:-}" ]; then
    echo "No BATCHFORM_COMMENT_TOKEN: no note is written."
    exit 0
fi
exec python3 - "$1" <<'PYTHON'
import json, os, sys, urllib.request

environ = os.environ
body = open(sys.argv[1], encoding="utf-8").read()
notes = f"{environ['CI_API_V4_URL']}/projects/{environ['CI_PROJECT_ID']}/merge_requests/{environ['CI_MERGE_REQUEST_IID']}/notes"


def call(method, url, value=None):
    headers = {"PRIVATE-TOKEN": environ["BATCHFORM_COMMENT_TOKEN"], "Content-Type": "application/json"}
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer), answer.headers.get("X-Next-Page")


# The marker in the first line identifies our note. Anyone can copy the marker, so the author must be the token's user.
us, _ = call("GET", f"{environ['CI_API_V4_URL']}/user")
page, ours = "1", None
while page and ours is None:
    found, page = call("GET", f"{notes}?per_page=100&page={page}")
    marker = body.split("\n")[0]
    ours = next((n for n in found if n["author"]["id"] == us["id"] and n["body"].split("\n")[0].rstrip() == marker), None)
call("PUT" if ours else "POST", f"{notes}/{ours['id']}" if ours else notes, {"body": body})
print("The plan is in a note on the merge request.")
PYTHON
