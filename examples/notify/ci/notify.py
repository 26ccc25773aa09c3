"""Posts the outcome of `batchform apply --report FILE` to a Slack-compatible webhook. Needs Python only.

    NOTIFY_WEBHOOK   the webhook's address, which is a secret; without it, nothing is sent
    NOTIFY_STATUS    the status of the job, such as success or failed
    NOTIFY_REPORT    the report; absent if apply was refused
    NOTIFY_RUN       the address of the run

It never fails the job and never prints the address of the webhook. It sends counts, and names of batches.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request

MOST = 10
"""Batches that are named."""

ATTENTION = ("unknown", "rejected", "blocked", "not_approved", "not_attempted")
WORDS = {"not_approved": "larger than approved", "already_started": "started elsewhere"}
TIMEOUT = 15.0


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The text goes to the webhook only."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def plain(text: object) -> str:
    """Text without mentions, links and formatting. Source: Slack, "Formatting text for app surfaces"."""
    shown = re.sub(r"[^\w .,:()/-]", "?", str(text), flags=re.ASCII)
    return shown[:200]


def message(report: object, status: str, run: str) -> str:
    """The text to post."""
    head = f"batchform apply: {plain(status) or 'ended'}"
    lines = []
    if isinstance(report, dict):
        summary = report.get("summary") or {}
        counts = [
            f"{summary[name]:,} {WORDS.get(name, name.replace('_', ' '))}"
            for name in ("started", "adopted", "already_started", *ATTENTION)
            if summary.get(name)
        ]
        head += f", exit code {report.get('exit_code')}: {', '.join(counts) or 'nothing to do'}"
        head += f", {summary.get('records_started', 0):,} records"
        if report.get("end"):
            lines.append(f"It ended early: {plain(report['end'].get('message'))}")
        named = [one for one in report.get("outcomes") or [] if one.get("result") in ATTENTION]
        lines += [f"- {plain(one.get('name'))}: {plain(one['result']).replace('_', ' ')}" for one in named[:MOST]]
        if len(named) > MOST:
            lines.append(f"... and {len(named) - MOST:,} more")
    else:
        lines.append("There is no report: apply was refused before it sent anything, or it could not begin or end.")
    return "\n".join([head, *lines, *([run] if run.startswith("https://") else [])])


def read(file: str) -> object:
    """The report, None if it is absent or damaged."""
    try:
        with open(file, encoding="utf-8") as stream:  # a path may be empty
            return json.load(stream)
    except (OSError, ValueError):
        return None


def post(webhook: str, text: str) -> str:
    """Send the text. Returns why that failed, empty if it did not."""
    if not webhook.startswith(("https://", "http://127.0.0.1:")):
        return "its address does not begin with https://"
    body = json.dumps({"text": text}).encode()
    try:
        request = urllib.request.Request(webhook, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.build_opener(NoRedirect).open(request, timeout=TIMEOUT):
            return ""
    except Exception as error:  # noqa: BLE001  # whatever it is, the job must not fail, and its text may hold the address
        return f"{type(error).__name__} {getattr(error, 'code', '')}".strip()


def main() -> None:
    """Post, or say why not."""
    env = os.environ
    webhook = env.get("NOTIFY_WEBHOOK", "").strip()
    if not webhook:
        print("notify: NOTIFY_WEBHOOK is not set, so nothing was sent.")
        return
    status, run = env.get("NOTIFY_STATUS", ""), env.get("NOTIFY_RUN", "")
    try:
        text = message(read(env.get("NOTIFY_REPORT", "")), status, run)
    except (AttributeError, KeyError, TypeError, ValueError):  # it is no report
        text = message(None, status, run)
    why = post(webhook, text)
    print(f"notify: the webhook could not be reached: {why}." if why else "notify: sent.", file=sys.stderr)


if __name__ == "__main__":
    main()
