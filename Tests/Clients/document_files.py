"""Documents of many formats, made by the libraries and programs that make them elsewhere. Each says where a bird nests."""

import datetime
import email.message
import email.policy
import io
import json
import mailbox
import subprocess

PLACES = {
    "docx": "The kittiwake nests on sea cliffs.",
    "xlsx": "Bittern",
    "pptx": "The dipper nests behind waterfalls.",
    "odt": "The wheatear nests in rabbit holes.",
    "ods": "Sandpiper",
    "odp": "The nightjar nests on bare ground.",
    "epub": "The goldcrest nests in tall conifers.",
    "rtf": "The skylark nests in long grass.",
    "tex": "The swallow nests in old barns.",
    "rst": "The coot nests among reeds.",
    "org": "The tree pipit nests under bracken.",
    "ipynb": "The little tern nests on shingle.",
    "eml": "The grey heron nests in colonies of tall trees.",
    "mbox": "The black grouse nests in heather.",
    "xls": "Lapwing",
    "pdf": "The barn owl nests in church towers.",
}


def pandoc(markdown, form, *options):
    """What pandoc makes of Markdown."""
    command = ["pandoc", "--from", "markdown", "--to", form, "--standalone", "--quiet", "--output", "-", *options]
    return subprocess.run(command, input=markdown.encode(), capture_output=True, check=True).stdout


def docx():
    import docx

    document = docx.Document()
    document.core_properties.title = "Cliffs"
    document.add_heading("Search", 1)
    document.add_paragraph(PLACES["docx"])
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([cell for row in table.rows for cell in row.cells], ["Bird", "Eggs", "Kittiwake", "2"]):
        cell.text = text
    return saved(document.save)


def xlsx(date=datetime.date(2025, 4, 3)):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Empty"
    sheet = book.create_sheet("Nests")
    sheet.append(["Bird", "Place", "First egg", "Share"])
    sheet.append(["Bittern", "reed beds", date, 0.1 + 0.2])
    sheet.append(["Avocet", None, datetime.datetime(2025, 5, 1, 13, 30), True])
    return saved(book.save)


def pptx():
    import pptx

    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "Birds of the river"
    second = deck.slides.add_slide(deck.slide_layouts[1])
    second.shapes.title.text = "Nests"
    second.placeholders[1].text = PLACES["pptx"]
    second.notes_slide.notes_text_frame.text = "Ask who has seen one."
    table = second.shapes.add_table(2, 2, 0, 0, 10**6, 10**6).table
    for index, text in enumerate(["Bird", "Eggs", "Dipper", "5"]):
        table.cell(index // 2, index % 2).text = text
    return saved(deck.save)


def ods():
    from odf.opendocument import OpenDocumentSpreadsheet
    from odf.table import Table, TableCell, TableRow
    from odf.text import P

    document = OpenDocumentSpreadsheet()
    table = Table(name="Waders")
    for cells in [["Bird", "Place"], ["Sandpiper", "river banks"]]:
        row = TableRow()
        for text in cells:
            cell = TableCell()
            cell.addElement(P(text=text))
            row.addElement(cell)
        row.addElement(TableCell(numbercolumnsrepeated=16000))
        table.addElement(row)
    document.spreadsheet.addElement(table)
    return saved(document.save)


def odp():
    from odf.draw import Frame, Page, TextBox
    from odf.opendocument import OpenDocumentPresentation
    from odf.style import MasterPage, PageLayout
    from odf.text import P

    document = OpenDocumentPresentation()
    layout = PageLayout(name="layout")
    document.automaticstyles.addElement(layout)
    master = MasterPage(name="master", pagelayoutname=layout)
    document.masterstyles.addElement(master)
    for title, text in [("Dusk", "When birds of the night wake."), ("Heaths", PLACES["odp"])]:
        page = Page(masterpagename=master, name=title)
        document.presentation.addElement(page)
        for kind, words in [("title", title), ("outline", text)]:
            frame = Frame(width="10cm", height="2cm")
            frame.setAttrNS("urn:oasis:names:tc:opendocument:xmlns:presentation:1.0", "class", kind)
            box = TextBox()
            box.addElement(P(text=words))
            frame.addElement(box)
            page.addElement(frame)
    return saved(document.save)


def epub():
    from ebooklib import epub

    book = epub.EpubBook()
    book.set_identifier("birds")
    book.set_title("Forests")
    book.add_author("A. Finch")
    chapter = epub.EpubHtml(title="Conifers", file_name="one.xhtml")
    chapter.content = f"<h1>Conifers</h1><p>{PLACES['epub']}</p>"
    book.add_item(chapter)
    book.toc = [chapter]
    book.spine = ["nav", chapter]
    book.add_item(epub.EpubNcx())
    book.add_item(epub.EpubNav())
    return saved(lambda file: epub.write_epub(file, book))


def ipynb():
    import nbformat.v4 as v4

    code = v4.new_code_cell("print('```')\ncount_nests()")
    code.outputs = [
        v4.new_output("stream", text="```\n\x1b[31m17 nests\x1b[0m\n"),
        v4.new_output("display_data", data={"image/png": "aGVsbG8=", "text/plain": "<Figure of nests>"}),
        v4.new_output("error", ename="KeyError", evalue="'tern'", traceback=["\x1b[0;31mKeyError"]),
    ]
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Counting terns"), code, v4.new_markdown_cell(PLACES["ipynb"])])
    notebook.metadata["language_info"] = {"name": "python"}
    return json.dumps(notebook).encode()


def eml():
    """Text and HTML, an attachment, another message within, all of them encoded."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = "Größere Reiher: where they nest"
    message["From"] = "Ann Fjord <ann@example.org>"
    message["To"] = "bob@example.org"
    message["Date"] = "Mon, 03 Mar 2025 10:00:00 +0100"
    message.set_content(PLACES["eml"] + "\nÉcrit à la hâte.\n", charset="iso-8859-1", cte="quoted-printable")
    message.add_alternative(f"<html><body><p>{PLACES['eml']}</p></body></html>", subtype="html", cte="base64")
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="Zählung.pdf")
    forwarded = email.message.EmailMessage()
    forwarded["Subject"] = "An older count"
    forwarded.set_content("There were nine nests in 2019.")
    message.add_attachment(forwarded)
    return message.as_bytes()


def mbox(path):
    box = mailbox.mbox(path)
    for subject, text in [("First", "From the moor there is nothing new."), ("Second", PLACES["mbox"])]:
        message = mailbox.mboxMessage()
        message["Subject"] = subject
        message["From"] = "moor@example.org"
        message.set_payload(f"Hello,\n\nFrom now on:\n{text}\n")
        box.add(message)
    box.close()


def xls():
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Fields")
    for row, cells in enumerate([["Bird", "Place"], ["Lapwing", "ploughed fields"]]):
        for column, text in enumerate(cells):
            sheet.write(row, column, text)
    return saved(book.save)


def pdf(pages):
    """Lists of lines as the pages of a PDF."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        stream = "BT /F1 11 Tf 72 720 Td " + "".join(f"({line}) Tj 0 -14 Td " for line in page) + "ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        font = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R {font} >>")
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    output, offsets = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(output))
        output += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in [*offsets])
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(output)}\n%%EOF\n"
    return output + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def saved(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def write_all(folder):
    """One file of each format in `folder`, called `birds.<extension>`."""
    made = {
        "docx": docx(), "xlsx": xlsx(), "pptx": pptx(), "ods": ods(), "odp": odp(), "epub": epub(), "ipynb": ipynb(), "eml": eml(), "xls": xls(),
        "pdf": pdf([["Owls of the village.", "They hunt at dusk."], [PLACES["pdf"]]]),
        **{form: pandoc(f"# Birds\n\n{PLACES[form]}\n", form) for form in ["odt", "rtf", "rst", "org"]},
        "tex": pandoc(f"---\ntitle: Farms\n---\n\n# Barns\n\n{PLACES['tex']}\n", "latex"),
    }
    for extension, content in made.items():
        (folder / f"birds.{extension}").write_bytes(content)
    mbox(folder / "birds.mbox")
