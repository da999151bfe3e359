"""The whole product with language model, embedder and reranker on other servers, and no weights of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.other_engines import destinations, is_remote
from core.settings import ModelSettings
from models.files import weights
from tests.app.cli_driver import CommandLine
from tests.app.conftest import _stop_guards
from tests.models.llama_cpp_server import LlamaServer
from tests.models.odd_server import Call, OddServer

SUBJECTS = (("leave", "vacation", "年假", "休假"), ("pump", "filter", "水泵", "过滤器"), ("notice", "quit"))
QUESTION = "How many days of vacation do employees get?"


def _subjects(text: str) -> list[float]:
    return [float(any(word in text for word in words)) for words in SUBJECTS]


def embeds(call: Call) -> None:
    """A made-up embedder: a dimension per subject, and some for the words."""
    data = []
    for index, text in enumerate(call.body["input"]):
        words = np.random.default_rng(list(text.encode()[:40])).normal(size=8) * 0.1
        data.append({"index": index, "embedding": [*(5.0 * part for part in _subjects(text)), *words]})
    call.json({"data": data})


def reranks(call: Call) -> None:
    asked = _subjects(call.body["query"])
    scores = [float(np.dot(asked, _subjects(text))) for text in call.body["documents"]]
    call.json({"results": [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]})


class House:
    """A command line whose models all run on other servers."""

    def __init__(self, home: Path, llm: LlamaServer, small: OddServer) -> None:
        self.llm, self.small = llm, small
        self.cli = CommandLine(
            home,
            {
                "ALIOTH_MODELS__IDLE_S": "300",
                "ALIOTH_MODELS__LLM_URLS": llm.url,
                "ALIOTH_MODELS__LLM_SIZE": "large",
                "ALIOTH_MODELS__EMBEDDER_URLS": small.url,
                "ALIOTH_MODELS__EMBEDDER_NAME": "acme-embed",
                "ALIOTH_MODELS__RERANKER_URLS": small.url,
                "ALIOTH_MODELS__RERANKER_NAME": "acme-rerank",
                "ALIOTH_CHAT__ANSWER_TOKENS": "24",
            },
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("engines-home")
    llm = LlamaServer(weights.resolve("smollm2-135m-instruct", home), slots=1, window=4096)
    small = OddServer({"/embeddings": embeds, "/rerank": reranks}, "acme")
    page = tmp_path_factory.mktemp("pages") / "handbook.md"
    page.write_text(
        "# Vacation\n\nEmployees get 25 days of vacation per year.\n\n# Pump\n\nSwitch the pump off before cleaning.\n",
        encoding="utf-8",
    )
    built = House(home, llm, small)
    try:
        built.cli.ok("collection", "create", "H")
        built.cli.ok("ingest", "add", str(page), "--collection", "H")
        yield built
    finally:
        _stop_guards(home)
        llm.close()
        small.close()


def test_a_question_is_answered_by_the_other_servers(house: House) -> None:
    answer = house.cli.ok("ask", QUESTION, "--collection", "H", "--json").json
    assert answer["mode"] == "answer" and answer["answer"].strip()
    assert answer["notices"] == []
    assert house.small.asked("/rerank") and house.small.asked("/embeddings")


def test_a_search_explains_what_the_reranker_did(house: House) -> None:
    told = house.cli.ok("search", QUESTION, "--collection", "H", "--explain", "--json").json
    explained = told["explain"]
    assert explained["reranker"] == "remote:acme-rerank" and explained["reranker_problem"] == ""
    assert explained["timings"]["rerank"] > 0
    assert "rerank" in explained["candidates"][0]["stages"]
    lines = house.cli.ok("search", QUESTION, "--collection", "H", "--explain")
    assert "reranker   remote:acme-rerank:" in lines.out + lines.err


def test_a_reranker_that_fails_costs_its_order_and_not_the_question(house: House) -> None:
    house.small.answers["/rerank"] = lambda call: call.json({"error": {"message": "out of memory"}}, 500)
    try:
        answer = house.cli.ok("ask", QUESTION, "--collection", "H", "--mode", "quote", "--json").json
    finally:
        house.small.answers["/rerank"] = reranks
    assert "25 days of vacation" in answer["answer"]
    assert answer["notices"] == ["reranker_unavailable"]


def test_doctor_names_the_other_servers_and_where_they_are(house: House) -> None:
    rows = {row["name"]: row for row in house.cli.run("doctor", "--json").json}
    assert rows["other servers"]["ok"] and rows["other servers"]["detail"].count("on this machine") == 3
    assert f"questions and passages go to {house.llm.url}" in rows["other servers"]["detail"]
    assert rows["models process"]["ok"] and f"{house.llm.url} serves" in rows["models process"]["detail"]


def test_the_langchain_example_of_the_docs_runs(house: House) -> None:
    page = (Path(__file__).parents[2] / "docs" / "langchain.md").read_text(encoding="utf-8")
    code = page.split("## The language model alone", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code], env=house.cli.environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "'total_tokens'" in done.stdout and "five" not in done.stdout
    assert int(re.findall(r"^(?:.*\D)?(\d+) \{", done.stdout, re.MULTILINE)[0]) > 3


def test_no_model_of_the_catalogue_can_be_chosen_meanwhile(house: House) -> None:
    refused = house.cli.run("models", "use", "smollm2-135m-instruct")
    assert refused.code == 1 and "ALIOTH_MODELS__LLM_URLS" in refused.err


def test_destinations_are_the_addresses_of_the_settings() -> None:
    settings = ModelSettings(llm_urls="http://127.0.0.1:1/v1,http://127.0.0.2:1/v1", reranker_urls="http://127.0.0.1:2")
    found = list(destinations(settings))
    assert [one.url for one in found] == ["http://127.0.0.1:1/v1", "http://127.0.0.2:1/v1", "http://127.0.0.1:2/v1"]
    assert {one.reach for one in found} == {"this machine"}
    assert is_remote(settings.llm) and is_remote(settings.reranker) and not is_remote(settings.embedder)
    assert not list(destinations(ModelSettings()))
