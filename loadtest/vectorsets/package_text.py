"""The prose of a Debian documentation package: its paragraphs and its headings, without installing it."""

import gzip
import re
import subprocess
import tarfile

from lxml import etree, html

# Listings, indexes and navigation are not prose; neither is what a search engine of the documentation reads.
_SKIPPED = ("script", "style", "pre", "nav", "svg", "math", "noscript", "textarea", "select", "button")
_HEADINGS = ("h1", "h2", "h3", "h4", "title")
_BLOCKS = ("p", "li", "dd", "dt", "td", "th", "blockquote", "caption", "figcaption", "div", "body", "section", "summary", *_HEADINGS)
_SKIPPED_PATH = re.compile(
    r"_source\.html|-source\.html|/_sources?/|/src/|genindex|/search|changelog|copyright|/_modules/|/locale/|/licenses?/|NEWS|"
    # Translations: a folder or an ending with a language other than English.
    r"/(?:ar|bg|ca|cs|da|de|el|es|eu|fa|fi|fr|gl|he|hi|hr|hu|id|it|ja|ko|lt|lv|nb|nb-NO|nl|nn|pa|pl|pt|pt-BR|pt_BR|ro|ru|sk|sl|sr|sv|ta|te|th|tr|uk|vi|zh"
    r"|zh-CN|zh-TW|zh_CN|zh_TW|da-DK|de-DE|es-ES|fr-FR|it-IT|ja-JP|nl-NL|pl-PL|ru-RU|sv-SE|tr-TR|fa-IR|ar-MA|id-ID|ko-KR|el-GR|hr-HR|cs-CZ|ro-RO|vi-VN)/|"
    r"\.(?:ca|cs|da|de|es|fr|it|ja|ko|nl|pl|pt|pt-br|ru|sv|tr|vi|zh|zh-cn|zh-tw|sk|ro|hu|fi)\.(?:html|txt|page)"
)
_MAXIMUM_BYTES = 8_000_000


def paragraphs_and_headings(package):
    """Yields ("paragraph" | "heading", text with single spaces) of the `.deb` file at `package`, in the archive's order."""
    unpacking = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    with unpacking.stdout, tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive:
        for member in archive:
            if not member.isfile() or member.size > _MAXIMUM_BYTES or _SKIPPED_PATH.search(member.name):
                continue
            reader = _reader(member.name)
            if reader is None:
                continue
            content = archive.extractfile(member).read()
            if member.name.endswith(".gz"):
                content = gzip.decompress(content)
            yield from reader(content)
    if unpacking.wait() != 0:
        raise RuntimeError(f"dpkg-deb could not read {package}: exit code {unpacking.returncode}")


def _reader(name):
    plain = name.removesuffix(".gz")
    if plain.endswith((".html", ".htm", ".xhtml", ".page")):
        return _markup
    if "/man/" in name and re.search(r"\.\d[a-z]*(\.gz)?$", name):
        return _manual_page
    if plain.endswith((".txt", ".rst", ".md", ".info", ".texi")) or re.search(r"\.info(-\d+)?$", plain):
        return _text
    return None


def _single_spaced(text):
    return " ".join(text.split())


def _markup(content):
    try:
        root = html.document_fromstring(content, parser=html.HTMLParser(encoding="utf-8"))
    except (etree.ParserError, ValueError):
        return
    pieces = []

    def flush(kind="paragraph"):
        text = _single_spaced("".join(pieces))
        pieces.clear()
        if text:
            yield kind, text

    # Text between two block boundaries is a paragraph; the walk keeps no recursion, for deep trees.
    for event, element in etree.iterwalk(root, events=("start", "end")):
        tag = element.tag
        if not isinstance(tag, str):
            if event == "end":
                pieces.append(element.tail or "")
            continue
        if event == "start":
            if tag in _BLOCKS:
                yield from flush()
            if tag in _SKIPPED:
                for child in list(element):
                    element.remove(child)
            else:
                pieces.append(element.text or "")
        else:
            if tag in _BLOCKS:
                yield from flush("heading" if tag in _HEADINGS else "paragraph")
            pieces.append(element.tail or "")
            if tag == "br":
                pieces.append(" ")
    yield from flush()


def _manual_page(content):
    lines = content.decode("utf-8", "replace").splitlines()
    paragraph = []
    for line in [*lines, ".PP"]:
        if line.startswith((".\\\"", "'\\\"")):
            continue
        macro = re.match(r"[.'](\S+)\s*(.*)", line)
        if macro and macro[1] not in ("B", "I", "BR", "BI", "IR", "RB", "RI", "IB", "Nm", "Xr", "Fl", "Ar", "Em", "Sy"):
            text = _single_spaced(" ".join(paragraph))
            paragraph = []
            if text:
                yield "paragraph", text
            if macro[1] == "SS":
                yield "heading", _single_spaced(_plain_roff(macro[2]))
            continue
        paragraph.append(_plain_roff(macro[2] if macro else line))


def _plain_roff(line):
    line = re.sub(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[+-]?\d|\\[&/,|^%]", "", line)
    line = re.sub(r"\\\((?:aq|cq|oq)|\\\[(?:aq|cq|oq)\]", "'", line)
    line = re.sub(r"\\\((?:lq|rq|dq)|\\\[(?:lq|rq|dq)\]", '"', line)
    return re.sub(r"\\\(..|\\\[[^\]]*\]", " ", line.replace("\\-", "-").replace("\\e", "\\")).replace('"', "")


def _text(content):
    text = content.decode("utf-8", "replace")
    for block in re.split(r"\n[ \t]*\n|\x1f", text):
        lines = block.strip("\n").splitlines()
        # An underlined line is a heading; indented by a tab or after `::`, a listing.
        if len(lines) == 2 and re.fullmatch(r"([=\-~^*.])\1{3,}", lines[1].strip()):
            yield "heading", _single_spaced(lines[0])
        elif lines and not lines[0].startswith(("\t", "        ", "..")):
            yield "paragraph", _single_spaced(re.sub(r":[a-z:]+:`([^`<]*)[^`]*`|[`*|]+", r"\1", " ".join(lines)))
