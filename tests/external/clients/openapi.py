"""Schemathesis over /openapi.json: does the server do what the document says? `openapi.py PORT`.

Exit code 77: schemathesis is not installed."""
import math
import os
import re
import sys
import tempfile

try:
    import schemathesis
    from schemathesis.cli import schemathesis as cli
except ImportError:
    sys.exit(77)

# Long enough to queue. A wait forever would be as valid, and would last.
WAIT_MS = 20
# Within the limits of a server that is not told otherwise, and soon over.
TTL_MS = 300
TIME = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([sh]|ms?)?", re.IGNORECASE)
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
]


@schemathesis.hook
def before_load_schema(context, document):
    """Clients must not mind new fields; here one that the document does not have is an error."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if schema.get("type") == "object":
            schema.setdefault("unevaluatedProperties", False)


def is_within(number, least, most):
    return not isinstance(number, bool) and isinstance(number, int | float) and (
        number % 1 == 0 and least <= number <= most
    )


def consistent(body):
    """A valid body, with the fields that go together. The document says that in words: what makes clients of it has no use
    for alternatives."""
    body = dict(body)
    if body.get("mode") == "permit":
        body.update(limit=body.get("limit") or 3, resourceName=body.get("resourceName", "printers"))
    else:
        body.pop("limit", None)
    if "resourceName" in body:
        body.pop("resourceNames", None)
    elif "resourceNames" not in body:
        body["resourceName"] = "nightly"
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """Valid times become short ones; what is not valid is sent as it is, to be refused."""
    is_valid = case.meta is None or case.meta.generation.mode.is_positive
    if is_valid and isinstance(case.body, dict) and case.path == "/api/lock/acquire":
        case.body = consistent(case.body)
    if isinstance(case.body, dict):
        if is_within(case.body.get("waitMs"), -math.inf, math.inf):
            case.body = case.body | {"waitMs": WAIT_MS}
        if is_within(case.body.get("ttlMs"), 1, 31_622_400_000):
            case.body = case.body | {"ttlMs": TTL_MS}
    for name, millis in (("wait", WAIT_MS), ("ttl", TTL_MS)):
        if TIME.fullmatch(str((case.query or {}).get(name, ""))):
            case.query[name] = f"{millis}ms"


# It leaves files where it runs, and the next run would go by them.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
arguments = ["--checks", ",".join(CHECKS), "--seed", "1", "--generation-database", "none"]
# A stream without an end, which has tests of its own: each request would last until its time is over.
arguments += ["--exclude-path", "/api/watch"]
arguments += ["--max-examples", "200", "--request-timeout", "5", "--workers", "1", "--no-color"]
sys.exit(cli.main(["run", *arguments, f"http://127.0.0.1:{int(sys.argv[1])}/openapi.json"]))
