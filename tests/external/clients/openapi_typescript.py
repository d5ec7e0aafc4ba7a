"""openapi.ts, by the types that openapi-typescript makes of /openapi.json: compiled strictly, and run.

Exit code 77: the generator, the compiler or Node.js is not installed."""
import pathlib
import shutil
import sys
import tempfile

from generated import document, run
from steps import HTTP_PORT, NOT_INSTALLED, held_elsewhere

here = pathlib.Path(__file__).parent
programs = here.parents[2] / "target" / "drivers" / "node_modules" / ".bin"
generator, compiler, node = programs / "openapi-typescript", programs / "tsc", shutil.which("node")
if not (generator.exists() and compiler.exists() and node):
    sys.exit(NOT_INSTALLED)

folder = tempfile.TemporaryDirectory()
place = pathlib.Path(folder.name)
run([node, generator.resolve(), document(place), "--output", place / "generated.d.ts"])
shutil.copy(here / "openapi.ts", place)
run(
    [node, compiler.resolve(), "--strict", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"]
    + ["--lib", "es2022,dom", place / "openapi.ts"]
)
(place / "package.json").write_text('{"type": "module"}')
run([node, place / "openapi.js", str(HTTP_PORT)])
assert not held_elsewhere("nightly")
