"""What programs read: plain values for JSON, each with a schema in `schemas/`, and a saved plan back again.

Terraform's names are kept where the meaning is the same, so that policies and report converters written for its plans
count only what spends money here: a START is `["create"]`, a FORGET `["forget"]`, all else `["no-op"]`. Readers ignore
unknown keys and refuse an unknown major version. Nothing here is coloured or cut. Only JSON itself escapes values,
except in `@message`, which is text for people.
"""
