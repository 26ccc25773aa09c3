"""Reads and writes the merge request of this pipeline. Needs Python only.

    python3 ci/merge_request.py approval FILE    save the plan of the merge request that was merged with this commit
    python3 ci/merge_request.py comment FILE     write a comment on that merge request, or on the one of this pipeline

BATCHFORM_API_TOKEN is a project access token with the scope `api`, masked and protected. So only pipelines of protected
branches have it. Without it, `approval` saves nothing, and `comment` writes nothing.
"""

import json
import os
import sys
import urllib.request

JOB = "plan merge request"  # the name of the job in .gitlab-ci.yml


class Project:
    """The API of this project."""

    def __init__(self, environ):
        self.api = environ["CI_API_V4_URL"]
        self.own = environ["CI_PROJECT_ID"]
        self.sha = environ["CI_COMMIT_SHA"]
        self.token = environ["BATCHFORM_API_TOKEN"]
        self.number = environ.get("CI_MERGE_REQUEST_IID")

    def call(self, path, method="GET", value=None):
        """The body of an answer, and the number of the next page."""
        headers = {"PRIVATE-TOKEN": self.token, "Content-Type": "application/json"}
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self.api}/{path}", data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read(), answer.headers.get("X-Next-Page")

    def all(self, path):
        """The items of all pages."""
        page = "1"
        while page:
            body, page = self.call(f"{path}?per_page=100&page={page}")
            yield from json.loads(body)

    def merged(self):
        """The number of the merge request that was merged with this commit, None if there is none."""
        found = self.all(f"projects/{self.own}/repository/commits/{self.sha}/merge_requests")
        return next((one["iid"] for one in found if one["state"] == "merged"), None)

    def plan(self, number):
        """The newest plan that a pipeline of the merge request made, None if none did."""
        for pipeline in self.all(f"projects/{self.own}/merge_requests/{number}/pipelines"):
            project = pipeline.get("project_id", self.own)  # that of a fork
            for job in self.all(f"projects/{project}/pipelines/{pipeline['id']}/jobs"):
                if job["name"] == JOB:
                    if job["status"] != "success":
                        return None  # the plan of an earlier commit is not the one that was merged
                    return self.call(f"projects/{project}/jobs/{job['id']}/artifacts/plan.json")[0]
        return None

    def comment(self, number, body):
        """Update our plan, or write a new note: a report stands beside the plan."""
        notes = f"projects/{self.own}/merge_requests/{number}/notes"
        marker = body.split("\n")[0]
        ours = None
        if marker.startswith("<!-- batchform:plan "):
            # Anyone can copy the marker, so the author must be the token's user.
            user = json.loads(self.call("user")[0])["id"]
            mine = (one for one in self.all(notes) if one["author"]["id"] == user)
            ours = next((one["id"] for one in mine if one["body"].split("\n")[0].rstrip() == marker), None)
        self.call(f"{notes}/{ours}" if ours else notes, "PUT" if ours else "POST", {"body": body})


def approval(project, file):
    """Save the plan. Fails if this commit is not that of a merge request, or its plan failed."""
    number = project.merged()
    plan = project.plan(number) if number else None
    if plan is None:
        sys.exit(
            "No plan was approved for this commit: it has no merge request, or the plan of the merge request failed."
            " Nothing was sent. To apply this commit, run a pipeline of this branch by hand."
        )
    with open(file, "wb") as stream:
        stream.write(plan)
    print(f"The plan of the merge request !{number} limits this one.")


def comment(project, file):
    """Write the comment. A failure does not fail the job: the same text is in its log and artefacts."""
    number = project.number or project.merged()
    if not number or not os.path.exists(file):
        print("There is no merge request, or nothing to write on it.")
        return
    with open(file, encoding="utf-8") as stream:
        project.comment(number, stream.read())
    print(f"The comment is on the merge request !{number}.")


def main(command, file):
    """Run a command, unless the pipeline has no token."""
    if not os.environ.get("BATCHFORM_API_TOKEN"):
        print(f"This pipeline has no BATCHFORM_API_TOKEN: no {command}.")
        return
    try:
        {"approval": approval, "comment": comment}[command](Project(os.environ), file)
    except (OSError, ValueError, KeyError) as error:  # an HTTPError is an OSError
        message = f"GitLab's API could not be used for the {command}: {error}"
        if command == "approval":
            sys.exit(f"{message}. Nothing was sent.")
        print(f"{message}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
