#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of web/ into one C file: the table of src/api/assets.h.

usage: embed.py OUTPUT.c DEPFILE PROJECT_ROOT

web/index.html gets the path "/", every other file "/" followed by its name below web/.
"""
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}


def assets(root):
    """Returns (path of the request, file) for every file, sorted."""
    web = root / "web"
    return sorted(("/" if f == web / "index.html" else "/" + f.relative_to(web).as_posix(), f)
                  for f in web.rglob("*") if f.is_file() and not f.name.startswith("."))


def initializer(data):
    lines = []
    for at in range(0, len(data), 24):
        lines.append("\t" + ",".join(str(b) for b in data[at:at + 24]) + ",\n")
    return "".join(lines)


def main():
    out, depfile, root = (pathlib.Path(a) for a in sys.argv[1:])
    table, parts = [], []
    found = assets(root)
    for i, (path, file) in enumerate(found):
        kind = TYPES.get(file.suffix)
        if kind is None:
            sys.exit(f"{file}: embed.py knows no content type for {file.suffix!r}; add it to TYPES")
        data = file.read_bytes()
        # The NUL at the end makes an empty file valid C; it is not counted.
        parts.append(f"static const unsigned char asset_{i}[] = {{ /* {path} */\n{initializer(data)}\t0\n}};\n\n")
        table.append(f'\t{{ "{path}", "{kind}", asset_{i}, {len(data)} }},\n')
    out.write_text(
        "/* SPDX-License-Identifier: Apache-2.0 */\n"
        "/* Made by tools/embed.py from the files of web/. Change those, not this file. */\n"
        '#include "api/assets.h"\n\n'
        + "".join(parts)
        + "const struct web_asset web_assets[] = {\n" + "".join(table) + "\t{ NULL, NULL, NULL, 0 }\n};\n"
        + f"const size_t web_assets_count = {len(found)};\n")
    depfile.write_text(f"{out}: " + " ".join(str(f).replace(" ", "\\ ") for _, f in found) + "\n")


if __name__ == "__main__":
    main()
