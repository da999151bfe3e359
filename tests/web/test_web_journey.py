"""A person's way through the product in real Chromium, against the real processes: set-up link to cited answer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.web.browsing import CHROMIUM, SLOW_MS, Served, choose_mode, chromium, serve, shot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "correct horse battery"
NEWEST_IN_SIGHT = """() => {
    const newest = [...document.querySelectorAll('[data-testid=stChatMessage]')].at(-1);
    const place = newest.getBoundingClientRect();
    return place.bottom > 0 && place.bottom <= innerHeight;
}"""
AT_THE_END = """() => {
    const scrolls = (one) => /auto|scroll/.test(getComputedStyle(one).overflowY) && one.scrollHeight > one.clientHeight;
    let one = document.querySelector('[data-testid=stChatMessage]');
    while (one && !scrolls(one)) one = one.parentElement;
    if (!one) return true;  // all of it is in sight
    one.scrollTo(0, one.scrollHeight);
    return one.scrollTop + one.clientHeight >= one.scrollHeight - 1;
}"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("journey")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def travel_pdf() -> bytes:
    """A PDF with real text, one page, written by hand so that no library is needed for it."""
    lines = [
        "Travel policy",
        "Employees send their receipts within 30 days after the trip.",
        "The company pays hotel costs up to 140 euros per night in Berlin.",
        "Flights above six hours may be booked in premium economy class.",
    ]
    text = "BT /F1 14 Tf 72 760 Td 24 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        "/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
    ]
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1"))
    table = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write("".join(f"{place:010d} 00000 n \n" for place in places).encode())
    out.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode())
    return out.getvalue()


def leave_docx() -> bytes:
    """A Chinese DOCX."""
    from docx import Document

    document = Document()
    document.add_heading("员工休假管理办法", 1)
    document.add_heading("年休假", 2)
    document.add_paragraph("员工累计工作已满一年不满十年的，年休假为五天；已满十年不满二十年的，年休假为十天。")
    document.add_paragraph("年休假应当在当年休完，经部门经理批准可以顺延至次年三月三十一日。")
    document.add_heading("病假", 2)
    document.add_paragraph("请病假须提交二级以上医院出具的证明，病假工资按本人工资的百分之八十发放。")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def set_up(page: Page, served: Served) -> None:
    page.goto(served.link)
    shot(page, "01_setup")
    page.fill("[name=name]", "王芳")
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=again]", PASSWORD)
    page.click("button")
    page.wait_for_selector("[data-testid=stSidebar]", timeout=SLOW_MS)


def create_collection(page: Page) -> None:
    page.get_by_role("link", name="知识库").click()
    page.get_by_role("button", name="新建").click()
    page.get_by_label("知识库名称").fill("公司制度 / Policies")
    page.get_by_label("知识库名称").press("Enter")
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="新建").click()
    page.get_by_test_id("stFileUploader").wait_for(timeout=SLOW_MS)


def upload(page: Page) -> None:
    page.get_by_test_id("stFileUploader").locator("input[type=file]").set_input_files(
        [
            {"name": "travel policy.pdf", "mimeType": "application/pdf", "buffer": travel_pdf()},
            {"name": "员工休假管理办法.docx", "mimeType": "application/octet-stream", "buffer": leave_docx()},
            {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 not really"},
        ]
    )
    page.get_by_text("travel policy.pdf").first.wait_for(timeout=SLOW_MS)
    shot(page, "03_uploading")
    page.wait_for_function(
        "() => (document.body.innerText.match(/可用\\n/g) || []).length >= 2"
        " && document.body.innerText.includes('PDF 已损坏')",
        timeout=SLOW_MS,
    )
    assert page.get_by_text("同名文档已存在").count() == 0
    shot(page, "04_library")


def ask(page: Page, question: str, name: str) -> str:
    """The text of the answer, once it is complete."""
    before = page.get_by_test_id("stChatMessage").count()
    box = page.get_by_test_id("stChatInput").locator("textarea")
    box.fill(question)
    box.press("Enter")
    page.wait_for_function(
        f"() => document.querySelectorAll('[data-testid=stChatMessage]').length >= {before + 2}", timeout=SLOW_MS
    )
    shot(page, f"{name}_streaming")
    last = page.get_by_test_id("stChatMessage").last
    last.get_by_test_id("stFeedback").or_(last.get_by_test_id("stButtonGroup")).first.wait_for(timeout=SLOW_MS)
    shot(page, name)
    return last.inner_text()


def to_the_end(page: Page) -> None:
    """Who reads further up is left there, so that the page follows only who is at its end."""
    for _ in range(3):  # what still grows may move the end once more
        page.wait_for_function(AT_THE_END, timeout=SLOW_MS)
        page.wait_for_timeout(300)


def test_from_the_set_up_link_to_cited_answers_in_both_languages(served: Served, browser: Browser) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 860})
    page = context.new_page()
    outside: list[str] = []
    page.on(
        "request", lambda r: outside.append(r.url) if not r.url.startswith((served.url, "data:", "blob:")) else None
    )
    set_up(page, served)
    shot(page, "02_empty")
    create_collection(page)
    upload(page)

    page.get_by_role("link", name="问答").click()
    chinese = ask(page, "已满十年不满二十年的员工，年休假是几天？", "05_answer_zh")
    assert "十天" in chinese
    english = ask(page, "How much does the company pay for a hotel in Berlin?", "06_answer_en")
    assert "140" in english

    last = page.get_by_test_id("stChatMessage").last
    last.get_by_text("出处").first.click()
    last.get_by_text("travel policy.pdf").first.wait_for(timeout=SLOW_MS)
    shot(page, "07_sources")
    last.get_by_role("button", name="查看原页").first.click()
    image = page.get_by_role("dialog").locator("img.al-page")
    image.wait_for(timeout=SLOW_MS)
    page.wait_for_function("() => document.querySelector('img.al-page').naturalWidth > 400", timeout=SLOW_MS)
    shot(page, "08_page_image")
    page.keyboard.press("Escape")

    choose_mode(page, "组织语言")
    to_the_end(page)
    generated = ask(page, "How many days after the trip do employees send their receipts?", "11_generated")
    assert "摘录文档原句" not in generated and len(generated) > 20
    page.wait_for_function(NEWEST_IN_SIGHT, timeout=SLOW_MS)

    assert "c=" in page.url
    page.reload()
    page.get_by_text("已满十年不满二十年的员工，年休假是几天？").first.wait_for(timeout=SLOW_MS)
    page.get_by_text("How much does the company pay for a hotel in Berlin?").first.wait_for(timeout=SLOW_MS)
    shot(page, "09_after_refresh")

    page.goto(f"{served.url}/logout")
    page.click("button")
    page.wait_for_url("**/login")
    shot(page, "10_login")
    page.fill("[name=name]", "王芳")
    page.fill("[name=password]", PASSWORD)
    page.click("button")
    page.wait_for_selector("[data-testid=stSidebar]", timeout=SLOW_MS)
    page.get_by_test_id("stSidebar").get_by_text("已满十年不满二十年的员工，年休假是几天？").first.click()
    page.get_by_test_id("stChatMessage").first.wait_for(timeout=SLOW_MS)
    assert outside == []
    context.close()
