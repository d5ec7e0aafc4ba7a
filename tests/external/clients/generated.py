"""What the scripts of generated clients share."""
import subprocess

from steps import PATIENCE, call


def document(place):
    """The server's own document, in a file."""
    path = place / "openapi.json"
    path.write_text(call("GET", "/openapi.json")[1])
    return path


def run(command):
    """Runs a program, which must succeed and warn of nothing."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=3 * PATIENCE)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0 and "warning" not in said.lower(), f"{command}: {said}"
