"""``.. accept-settings::`` lists every setting, from ``async_accept.conf`` and the comments in it."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CONF = Path(__file__).resolve().parent.parent.parent / "async_accept" / "conf.py"

SECTION = re.compile(r"    # --- (.+?) -+$")
COMMENT = re.compile(r"    # (.+)$")
ENTRY = re.compile(r'    "([A-Z_]+)": (.*)$')


class Setting(NamedTuple):
    section: str
    name: str
    text: str
    default: str


def read() -> list[Setting]:
    """Read the settings in their order. Settings without a comment share the one above them."""
    source = CONF.read_text().partition("DEFAULTS: dict[str, Any] = {\n")[2].partition("\n}\n")[0]
    found: list[Setting] = []
    section, comment, fresh = "", "", False
    for line in source.splitlines():
        if match := SECTION.match(line):
            section = match[1]
        elif match := COMMENT.match(line):
            comment = f"{comment} {match[1]}" if fresh else match[1]
            fresh = True
        elif match := ENTRY.match(line):
            found.append(Setting(section, match[1], comment, match[2].removesuffix(",")))
            fresh = False
        elif line.strip() not in (")", "),"):  # a value of several lines
            last = found[-1]
            found[-1] = last._replace(default=f"{last.default}{line.strip()}")
    return found


class AcceptSettings(SphinxDirective):
    """Everything in ``DEFAULTS``, with a heading for each of its sections."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        section = ""
        for setting in read():
            if setting.section != section:
                section = setting.section
                lines += [section, "~" * len(section), ""]
            lines += [f".. confval:: {setting.name}", ""]
            lines += [f"   {sentence}" for sentence in _as_rst(setting.text)]
            lines += ["", f"   Default: ``{_shown(setting.default)}``", ""]
        self.env.note_dependency(str(CONF))
        content = StringList(lines, source=str(CONF))
        return self.parse_text_to_nodes("\n".join(content), allow_section_headings=True)


def _as_rst(text: str) -> list[str]:
    return [re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)]


def _shown(default: str) -> str:
    default = re.sub(r'^\(r?"', '"', default) if default.startswith('(r"') else default
    return re.sub(r'"r"', "", default).replace("`", "'")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("accept-settings", AcceptSettings)
    return {"parallel_read_safe": True}
