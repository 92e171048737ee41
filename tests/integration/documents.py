"""What the documents tell a user to type.

documents.py commands FILE...   every command of the fenced sh blocks, one a line, comments gone, `\\` joined
documents.py block LANG FILE    the first fenced block of that language
documents.py inline FILE...     every `undine ...` and `--option ...` in the running text, and commands in comments of configurations
"""
import re
import sys


def blocks(path):
    """(language, text) of each fenced block."""
    text = open(path, encoding="utf-8").read()
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


def commands(path):
    for language, text in blocks(path):
        if language == "sh":
            for line in re.sub(r"\\\n\s*", " ", text).splitlines():
                line = re.sub(r"\s+#.*", "", line).strip()
                if line:
                    yield line


def inline(path):
    text = open(path, encoding="utf-8").read()
    if path.endswith(".yaml"):
        for line in re.sub(r"\\\n#\s*", " ", text).splitlines():
            found = re.match(r"#\s+(undine [a-z].*)", line)
            if found:
                yield found.group(1)
        return
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    yield from (" ".join(span.split()) for span in re.findall(r"`(undine [a-z][^`]*|--[a-z][^`]*)`", text))


what, *rest = sys.argv[1:]
if what == "block":
    language, path = rest
    sys.stdout.write(next(text for name, text in blocks(path) if name == language))
else:
    for path in rest:
        for line in {"commands": commands, "inline": inline}[what](path):
            print(line)
