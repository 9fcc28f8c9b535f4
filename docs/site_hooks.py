"""What the site adds to the documents when it is built: FORMAT.md, lists of folders, and what leads out of docs/."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
FORMAT = "checkpointing/FORMAT.md"
PAGE = "reference/format.md"
LISTS = {"runbooks": "Runbooks", "decisions": "Decisions"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the normative format, which lies beside its code, without a copy, and a first page to folders."""
    text = (ROOT / FORMAT).read_text(encoding="utf-8")
    files.append(File.generated(config, PAGE, content=text))
    for folder, title in LISTS.items():
        pages = sorted((ROOT / "docs" / folder).glob("*.md"))
        lines = [f"- [{page.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}]({page.name})" for page in pages]
        text = f"# {title}\n\n" + "\n".join(lines) + "\n"
        files.append(File.generated(config, f"{folder}/index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links to files of the code into their names, and links to a folder into its first page."""
    source = FORMAT if page.file.src_uri == PAGE else f"docs/{page.file.src_uri}"
    here = posixpath.dirname(source)

    def inside(match: re.Match[str]) -> str:
        text, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        path = posixpath.normpath(posixpath.join(here, target))
        if path == FORMAT:
            path = f"docs/{PAGE}"
        elif not path.startswith("docs/"):
            return text if f"`{path}`" in text else f"{text} (`{path}`)"
        if (ROOT / path).is_dir():
            path += "/index.md"
        if path.endswith((".py", ".json")):
            return f"{text} (`{path}`)"
        return f"[{text}]({posixpath.relpath(path, 'docs/' + posixpath.dirname(page.file.src_uri))}{anchor})"

    return LINK.sub(inside, markdown)
