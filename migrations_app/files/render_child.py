"""A process of its own that renders templates of strangers, and is given nothing but texts and values.

Run as `python -I render_child.py`: JSON {"files": {path: text}, "values": {...}, "seconds", "memory_bytes",
"most_characters"} comes in, {"files": {path: text}} or {"error": {"path", "line", "text"}} goes out. It limits its own
time and memory before it looks at a template; its parent ends it when that does not help.
"""

import json
import resource
import sys
from typing import Any


def main() -> None:
    given = json.load(sys.stdin)
    seconds = int(given["seconds"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (given["memory_bytes"], given["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    json.dump(rendered(given["files"], given["values"], given["most_characters"]), sys.stdout)


def rendered(files: dict[str, str], values: dict[str, Any], most: int) -> dict[str, Any]:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()  # no range, no lipsum, no cycler: what a template may use stands in the values
    found: dict[str, str] = {}
    total = 0
    for path, text in files.items():
        try:
            found[path] = environment.from_string(text).render(values)
        except TemplateError as error:
            line = getattr(error, "lineno", None) or line_of(error)
            return {"error": {"path": path, "line": line, "text": str(error.message or error)[:500]}}
        except MemoryError:
            return {"error": {"path": path, "line": 0, "text": "it takes too much memory"}}
        except (
            Exception
        ) as error:  # whatever a template makes of values: a division by zero, a missing argument
            text = f"{type(error).__name__}: {error}"[:500]
            return {"error": {"path": path, "line": line_of(error), "text": text}}
        total += len(found[path])
        if total > most:
            return {"error": {"path": path, "line": 0, "text": "the rendered files are too large"}}
    return {"files": found}


def line_of(error: BaseException) -> int:
    """The line of the template; Jinja makes its frames look like the template's."""
    line, frame = 0, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


if __name__ == "__main__":
    main()
