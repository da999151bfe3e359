"""Word and PowerPoint packages of every kind: documents, templates, slide shows, each with macros or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"
_WORD_WITH_MACROS = "application/vnd.ms-word.{}.macroEnabled{}.main+xml"
_SLIDES = "application/vnd.openxmlformats-officedocument.presentationml.{}.main+xml"
_SLIDES_WITH_MACROS = "application/vnd.ms-powerpoint.{}.macroEnabled.main+xml"


def open_word(path: Path) -> Any:
    """The document as python-docx gives it, which by itself takes only plain docx.

    Raises:
        ValueError: the main part is no Word document. Whatever else python-docx raises on damaged files.
    """
    from docx.opc.part import PartFactory
    from docx.package import Package
    from docx.parts.document import DocumentPart

    kinds = (_WORD, _WORD_WITH_MACROS.format("document", ""), _WORD_WITH_MACROS.format("template", "Template"))
    for kind in kinds:
        PartFactory.part_type_for.setdefault(kind, DocumentPart)
    main = Package.open(str(path)).main_document_part
    if not isinstance(main, DocumentPart):
        raise ValueError(f"the main part is {main.content_type!r}")
    return main.document


def open_slides(path: Path) -> Any:
    """The presentation as python-pptx gives it, which by itself takes only pptx and pptm.

    Raises:
        ValueError: the main part is no presentation. Whatever else python-pptx raises on damaged files.
    """
    from pptx.opc.package import PartFactory
    from pptx.package import Package
    from pptx.parts.presentation import PresentationPart

    plain = (_SLIDES.format(kind) for kind in ("template", "slideshow"))
    with_macros = (_SLIDES_WITH_MACROS.format(kind) for kind in ("template", "slideshow"))
    for kind in (*plain, *with_macros):
        PartFactory.part_type_for.setdefault(kind, PresentationPart)
    main = Package.open(str(path)).main_document_part
    if not isinstance(main, PresentationPart):
        raise ValueError(f"the main part is {main.content_type!r}")
    return main.presentation
