"""A language model on other servers: a real llama.cpp server, and servers that are dead, slow or lie."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.errors import AliothError, ContextOverflowError, InputError, LimitError, ModelError, ModelUnavailableError
from models.client.connection import ModelsClient
from models.fakes import FakeLanguageModel
from models.files import weights
from models.protocols import Delta, GenerationSettings, Lane, Message
from models.queueing.limits import AnswerLimits
from models.remote.llm import RemoteLanguageModel, RemoteLlmOptions
from models.serving.service import build_app
from models.wire import error_from
from tests.models.adapter_samples import write_adapter
from tests.models.llama_cpp_server import LlamaServer
from tests.models.odd_server import Call, OddServer, odd_server, wait_until

HELLO = [Message("user", "Say hello.")]
SHORT = GenerationSettings(max_tokens=12)
KEY = "sk-very-secret"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights.resolve("smollm2-135m-instruct", tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def llama_server(gguf: Path) -> Iterator[LlamaServer]:
    server = LlamaServer(gguf, slots=2)
    yield server
    server.close()


@contextmanager
def engine(*urls: str, key: str = "", **options: Any) -> Iterator[RemoteLanguageModel]:
    model = RemoteLanguageModel(urls, key, RemoteLlmOptions(**{"id": "remote:x", **options}), every_s=0.2)
    try:
        yield model
    finally:
        model.close()


def text_of(deltas: Iterator[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


# ---------------------------------------------------------------- the real server


def test_a_llama_cpp_server_tells_its_window_its_size_and_how_it_counts(llama_server: LlamaServer, llama: Any) -> None:
    with engine(llama_server.url) as model:
        info = model.info()
        texts = ["Employees get 25 days of leave.", "员工每年享有二十五天年假。"]
        assert (info.window, info.languages, info.small) == (1024, ("en",), True)
        assert model.count_tokens(texts) == llama.count_tokens(texts)


def test_a_llama_cpp_server_answers_as_a_stream_with_usage(llama_server: LlamaServer) -> None:
    with engine(llama_server.url) as model:
        deltas = list(model.stream(HELLO, SHORT))
    assert len([delta for delta in deltas if delta.text]) > 3
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].prompt_tokens > 5 and deltas[-1].generated_tokens == 12


def test_the_same_seed_and_settings_give_the_same_answer_again(llama_server: LlamaServer) -> None:
    with engine(llama_server.url) as model:
        first, second = (text_of(model.stream(HELLO, SHORT)) for _ in range(2))
    assert first and first == second


def test_a_stop_text_ends_the_answer_and_is_left_out(llama_server: LlamaServer) -> None:
    with engine(llama_server.url) as model:
        whole = text_of(model.stream(HELLO, SHORT))
        stop = whole.split()[3]
        deltas = list(model.stream(HELLO, GenerationSettings(max_tokens=12, stop=(stop,))))
    assert deltas[-1].finish_reason == "stop"
    assert stop not in "".join(delta.text for delta in deltas)


def test_a_cancelled_answer_frees_its_slot_at_the_server(llama_server: LlamaServer) -> None:
    cancel = threading.Event()
    with engine(llama_server.url) as model:
        deltas = model.stream([Message("user", "Count to one thousand.")], GenerationSettings(max_tokens=700), cancel)
        assert next(delta for delta in deltas if delta.text)
        assert llama_server.busy() == 1
        cancel.set()
        assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["cancelled"]
        wait_until(lambda: llama_server.busy() == 0)


def test_an_answer_that_nobody_reads_any_more_frees_its_slot(llama_server: LlamaServer) -> None:
    with engine(llama_server.url) as model:
        deltas = model.stream([Message("user", "Count to one thousand.")], GenerationSettings(max_tokens=700))
        assert next(delta for delta in deltas if delta.text)
        deltas.close()  # type: ignore[attr-defined]  # it is a generator
        wait_until(lambda: llama_server.busy() == 0)
        assert model.replicas.all[0].running == 0


def test_a_prompt_over_the_window_is_refused_before_it_is_sent(llama_server: LlamaServer) -> None:
    with engine(llama_server.url) as model, pytest.raises(ContextOverflowError, match="window of 1024 tokens"):
        model.stream([Message("user", "word " * 1100)], SHORT)


def test_the_server_s_own_word_on_the_window_counts_too(llama_server: LlamaServer) -> None:
    with engine(llama_server.url, window=4096) as model:
        with pytest.raises(
            ContextOverflowError, match=r"too long for the model.* exceeds .* \(1024 tokens\)"
        ) as raised:
            list(model.stream([Message("user", "word " * 1100)], SHORT))
        assert "Shorten the prompt" in raised.value.hint
        assert text_of(model.stream(HELLO, SHORT)), "the server is still used"


OVERFLOWS = {
    "vllm, prompt": {
        "object": "error",
        "message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that "
        "`max_model_len` is no smaller than the number of text tokens plus multimodal tokens.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "vllm, prompt and answer": {
        "object": "error",
        "message": "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens "
        "(112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "vllm, newer": {
        "error": {
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context "
            "length is 8192 tokens and your request has 12 input tokens.",
            "type": "BadRequestError",
            "param": "max_tokens",
            "code": 400,
        }
    },
    "openai": {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    "llama.cpp, while it writes": {
        "error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}
    },
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_a_prompt_over_the_window_is_our_own_error_whatever_words_the_server_has(name: str) -> None:
    body = OVERFLOWS[name]
    code = 500 if "while" in name else 400
    with odd_server(chat=lambda call: call.json(body, code)) as one, odd_server(chat=well) as two, ExitStack() as stack:
        model = stack.enter_context(engine(one.url, two.url))
        with pytest.raises(ContextOverflowError, match="too long for the model") as raised:
            list(model.stream(HELLO, SHORT))
        assert not two.asked("/completions") and model.replicas.all[0].usable
    assert "Shorten the prompt" in raised.value.hint
    assert type(error_from(body, code)) is ContextOverflowError


def test_a_fault_whose_text_repeats_a_long_request_is_no_overflow() -> None:
    echo = {"error": {"message": "Field required" + " " * 2000 + "our policy on context windows"}}
    with odd_server(chat=lambda call: call.json(echo, 400)) as server, engine(server.url) as model:
        with pytest.raises(ModelError, match="Field required") as raised:
            list(model.stream(HELLO, SHORT))
        assert type(raised.value) is ModelError


def test_an_answer_follows_a_json_schema(llama_server: LlamaServer) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    settings = GenerationSettings(max_tokens=24, json_schema=json.dumps(schema))
    with engine(llama_server.url) as model:
        answer = text_of(model.stream([Message("user", "Is snow white?")], settings))
    assert isinstance(json.loads(answer)["yes"], bool)


def test_adapters_of_a_llama_cpp_server_change_answers_and_leave_no_trace(gguf: Path, tmp_path: Path) -> None:
    loras = [write_adapter(tmp_path / f"{name}.gguf", seed) for seed, name in enumerate(("house", "legal"), start=1)]
    server = LlamaServer(gguf, slots=1, loras=loras)
    try:
        with engine(server.url) as model:

            def answer(*adapters: tuple[str, float]) -> str:
                return text_of(model.stream(HELLO, GenerationSettings(max_tokens=12, adapters=adapters)))

            assert model.info().adapters == ("house", "legal")
            bare, house, legal = answer(), answer(("house", 1.0)), answer(("legal", 1.0))
            assert len({bare, house, legal}) == 3
            assert answer() == answer(("house", 0.0)) == bare
            with pytest.raises(InputError, match="has no 'other'; it has 'house', 'legal'"):
                model.stream(HELLO, GenerationSettings(adapters=(("other", 1.0),)))
    finally:
        server.close()


def test_when_one_of_two_servers_dies_the_other_answers_all_that_waits(llama_server: LlamaServer, gguf: Path) -> None:
    doomed = LlamaServer(gguf, slots=1)
    with engine(doomed.url, llama_server.url, at_once=1) as model:
        cancel = threading.Event()
        first = model.stream([Message("user", "Count to one thousand.")], GenerationSettings(max_tokens=600), cancel)
        assert next(delta for delta in first if delta.text)
        assert model.replicas.all[0].running == 1, "the first server has the first answer"
        waiting = [model.stream(HELLO, SHORT, user=user) for user in ("ann", "bob", "cy")]
        doomed.kill()
        with pytest.raises(ModelUnavailableError, match="broke off in the middle"):
            list(first)
        assert all(text_of(deltas) for deltas in waiting)
        assert any("not used" in note for note in model.live_notes)


# ---------------------------------------------------------------- servers that are dead, slow or lie


def hang(call: Call) -> None:
    call.begin()
    call.ended.wait(60)


def half(call: Call) -> None:
    call.begin()
    call.event(content="Half an")


def garbage(call: Call) -> None:
    call.begin()
    call.write(b"data: {this is no JSON\n\n")


def web_page(call: Call) -> None:
    call.send("<html><body>Sign in</body></html>", kind="text/html")


def mistaken(call: Call) -> None:
    call.begin()
    call.write(b'data: {"choices": "none", "object": 7}\n\n')


def fails_inside(call: Call) -> None:
    call.begin()
    call.write(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')


def status(code: int, message: str = "no") -> Callable[[Call], None]:
    return lambda call: call.json({"error": {"message": message}}, code)


def well(call: Call) -> None:
    call.answer("All", " well", ".")


BAD = {
    "half a stream": (half, r"broke off in the middle|does not answer"),
    "garbage": (garbage, "does not answer as an OpenAI-compatible server"),
    "a web page": (web_page, "web page"),
    "another shape": (mistaken, "does not answer as an OpenAI-compatible server"),
    "an error inside the stream": (fails_inside, "out of memory"),
    "500": (status(500, "broken"), "HTTP 500: broken"),
    "the key refused": (status(401), "refuses the key"),
    "an unknown path": (status(404), "HTTP 404"),
    "silence": (hang, "sent nothing for|no sign of life"),
}


def patience(name: str) -> float:
    """Seconds; short only where waiting is what is tested."""
    return 8.0 if name == "silence" else 120.0


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server_gives_a_clear_message(name: str) -> None:
    answer, words = BAD[name]
    with odd_server(chat=answer) as server, engine(server.url, timeout_s=patience(name)) as model:
        with pytest.raises(ModelUnavailableError, match=words) as raised:
            list(model.stream(HELLO, SHORT))
        assert server.url in str(raised.value)


@pytest.mark.parametrize("name", [name for name in BAD if name != "half a stream"])
def test_another_server_takes_over_what_a_bad_one_has_not_begun(name: str) -> None:
    with odd_server(chat=BAD[name][0]) as bad, odd_server(chat=well) as good, ExitStack() as stack:
        model = stack.enter_context(engine(bad.url, good.url, timeout_s=patience(name)))
        assert text_of(model.stream(HELLO, SHORT)) == "All well."
        assert len(bad.asked("/completions")) == len(good.asked("/completions")) == 1


def test_an_answer_that_has_begun_never_moves_to_another_server() -> None:
    with odd_server(chat=half) as bad, odd_server(chat=well) as good, engine(bad.url, good.url) as model:
        shown = ""
        with pytest.raises(ModelUnavailableError, match="What came until then is kept"):
            for delta in model.stream(HELLO, SHORT):
                shown += delta.text
        assert shown == "Half an" and not good.asked("/completions")


def test_a_server_that_was_busy_is_asked_again_when_there_is_no_other() -> None:
    answers = iter([status(503, "Loading model"), well])
    with odd_server(chat=lambda call: next(answers)(call)) as server, engine(server.url) as model:
        assert text_of(model.stream(HELLO, SHORT)) == "All well."


def test_a_request_at_fault_is_not_tried_elsewhere() -> None:
    with odd_server(chat=status(400, "bad grammar")) as one, odd_server(chat=well) as two:
        with engine(one.url, two.url) as model, pytest.raises(ModelError, match="bad grammar"):
            list(model.stream(HELLO, SHORT))
        assert not two.asked("/completions")


def test_a_dead_server_is_used_again_when_it_comes_back() -> None:
    answers: list[Callable[[Call], None]] = [status(500)]
    with odd_server(chat=lambda call: answers[0](call)) as server, engine(server.url) as model:
        with pytest.raises(ModelUnavailableError):
            list(model.stream(HELLO, SHORT))
        answers[0] = well
        wait_until(lambda: model.replicas.all[0].usable)
        assert text_of(model.stream(HELLO, SHORT)) == "All well."


def test_no_server_at_all_is_told_at_once_and_building_does_not_fail() -> None:
    with odd_server() as server:
        url = server.url
    with engine(url) as model:
        assert model.info().window == 4096
        with pytest.raises(ModelUnavailableError, match="No server of the language model answers"):
            model.stream(HELLO, SHORT)


def test_a_server_that_never_ends_is_cut_off() -> None:
    def endless(call: Call) -> None:
        call.begin()
        while call.event(content="on and "):
            pass

    with odd_server(chat=endless) as server, engine(server.url) as model:
        deltas = list(model.stream(HELLO, SHORT))
        assert deltas[-1].finish_reason == "length" and len(deltas) < 200
        assert model.replicas.all[0].running == 0


def test_thinking_is_never_shown() -> None:
    def thinks(call: Call) -> None:
        call.begin()
        call.event(reasoning_content="Hmm, the user wants")
        call.event(content="<thi")
        call.event(content="nk>secretly")
        call.event(content=" so</think>\n\nIt is")
        call.event(content=" 42 <think>.")
        call.event(finish_reason="stop")
        call.write(b"data: [DONE]\n\n")

    with odd_server(chat=thinks) as server, engine(server.url) as model:
        assert text_of(model.stream(HELLO, SHORT)) == "It is 42 <think>."


def test_the_key_goes_to_its_server_only_and_into_no_message_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with odd_server(chat=well) as target, ExitStack() as stack:
        answers = (
            status(401, f"wrong key {KEY}"),
            status(500, f"{KEY} is over its limit"),
            lambda call: call.send("", 307, Location=f"{target.url}/chat/completions"),
        )
        servers = [stack.enter_context(odd_server(chat=answer)) for answer in answers]
        for server in servers:
            with engine(server.url, key=KEY) as model, pytest.raises(ModelUnavailableError) as raised:
                list(model.stream(HELLO, SHORT))
            assert server.asked("/completions")[0].headers["Authorization"] == f"Bearer {KEY}"
            assert KEY not in str(raised.value) + repr(model.live_notes)
        assert not target.calls, "redirects are not followed"
        assert "redirects to" in str(raised.value)
    assert KEY not in caplog.text


def test_people_are_not_named_to_the_server() -> None:
    with odd_server(chat=well) as server, engine(server.url) as model:
        list(model.stream(HELLO, SHORT, user="ann@example.com"))
        assert "ann" not in json.dumps(server.asked("/completions")[0].body)


def test_requests_use_the_fields_that_every_server_knows_and_those_that_were_set() -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    with odd_server(chat=well) as server, engine(server.url, extra=extra) as model:
        list(model.stream(HELLO, SHORT))
        body = server.asked("/completions")[0].body
    assert body["max_tokens"] == 12 and body["model"] == "odd-7b" and body["temperature"] == 0.0
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert not {"max_completion_tokens", "repeat_penalty", "top_k"} & set(body)


def test_another_model_than_the_one_named_is_refused() -> None:
    refused = pytest.raises(ModelUnavailableError, match="does not serve 'big-70b'; its models: 'small-1b'")
    with odd_server(model="small-1b") as server, engine(server.url, name="big-70b") as model, refused:
        model.stream(HELLO, SHORT)


@pytest.mark.parametrize(("model", "small"), [("acme-0.5b", True), ("acme-7b-chat", False), ("acme", False)])
def test_a_model_is_small_by_its_name_or_as_the_administrator_says(model: str, small: bool) -> None:
    with odd_server(model=model) as server:
        with engine(server.url) as found:
            assert found.info().small is small
        with engine(server.url, small=not small, languages=("zh",), window=999) as told:
            assert (told.info().small, told.info().languages, told.info().window) == (not small, ("zh",), 999)


def test_a_name_that_the_catalogue_knows_has_its_languages() -> None:
    with odd_server(model="Qwen/Qwen2.5-7B-Instruct-GGUF") as server, engine(server.url) as model:
        assert model.info().languages == ("zh", "en") and not model.info().small


def test_adapters_that_a_server_does_not_have_are_refused_before_anything_is_sent() -> None:
    with odd_server(chat=well) as server, engine(server.url) as model:
        with pytest.raises(InputError, match=r"Adapters .* has no 'legal'; it has none"):
            model.stream(HELLO, GenerationSettings(adapters=(("legal", 1.0),)))
        assert not server.asked("/completions") and text_of(model.stream(HELLO, SHORT)) == "All well."


def llama_cpp(*loaded: str) -> dict[str, Callable[[Call], None]]:
    """Answers of a server that says it is llama.cpp's and has these adapters."""
    rows = [{"id": number, "path": f"C:\\loras\\{name}.gguf", "scale": 1.0} for number, name in enumerate(loaded)]
    return {
        "models": lambda call: call.json({"data": [{"id": "odd-7b", "owned_by": "llamacpp"}]}),
        "lora-adapters": lambda call: call.json(rows),
        "chat": well,
    }


def test_adapters_of_another_engine_are_known_to_clients_of_the_models_process(tmp_path: Path) -> None:
    row = {"id": "remote:x", "role": "llm", "adapters": ["house", "legal"]}
    served = build_app(FakeLanguageModel(model_id="remote:x", adapters=("house", "legal")), None, "token")
    with TestClient(served, headers={"Authorization": "Bearer token"}) as http:
        [told] = http.get("/v1/models").json()["data"]
    assert row.items() <= told.items()
    with odd_server(models=lambda call: call.json({"data": [told]})) as server:
        client = ModelsClient(server.url.removesuffix("/v1"), "token", tmp_path, llm_id="remote:x")
        assert client.llm().info().adapters == ("house", "legal")


def test_an_answer_with_an_adapter_never_moves_to_a_server_without_it() -> None:
    house = GenerationSettings(max_tokens=12, adapters=(("house", 0.5),))
    with (
        odd_server(**llama_cpp("house", "legal")) as one,
        odd_server(**llama_cpp("legal")) as two,
        ExitStack() as stack,
    ):
        model = stack.enter_context(engine(one.url, two.url))
        with pytest.raises(InputError, match=rf"{two.url}.* has no 'house'; it has 'legal'"):
            model.stream(HELLO, house)
        assert not one.asked("/completions") and not two.asked("/completions")
        assert text_of(model.stream(HELLO, SHORT)) == "All well."
    with odd_server(**llama_cpp("house", "legal")) as one, engine(one.url) as model:
        assert model.info().adapters == ("house", "legal")
        for settings in (house, SHORT):
            assert text_of(model.stream(HELLO, settings)) == "All well."
        assert [call.body["lora"] for call in one.asked("/completions")] == [
            [{"id": 0, "scale": 0.5}, {"id": 1, "scale": 0.0}],
            [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 1.0}],
        ]


# ---------------------------------------------------------------- the queue before the servers


class Gate:
    """Holds every answer until it is let through, and notes the order in which they came."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._lock = threading.Condition()
        self._allowed = 0

    def __call__(self, call: Call) -> None:
        with self._lock:
            self.order.append(call.body["messages"][0]["content"])
            mine = len(self.order)
            self._lock.notify_all()
            self._lock.wait_for(lambda: self._allowed >= mine or call.ended.is_set(), 60)
        well(call)

    def let(self, count: int) -> None:
        with self._lock:
            self._allowed = count
            self._lock.notify_all()


def read_all(streams: Sequence[Iterator[Delta]]) -> list[list[Delta]]:
    out: list[list[Delta]] = [[] for _ in streams]
    threads = [threading.Thread(target=lambda i=i: out[i].extend(streams[i])) for i in range(len(streams))]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return out


def test_people_take_turns_and_see_their_place() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, engine(server.url, at_once=1) as model:
        asked = [("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("bob", "b1")]
        streams = [model.stream([Message("user", text)], SHORT, user=user) for user, text in asked]
        assert [next(stream).place for stream in streams[1:]] == [1, 3, 2]
        gate.let(4)
        answers = read_all(streams)
        assert gate.order == ["a1", "a2", "b1", "a3"]
        assert all("".join(delta.text for delta in deltas) == "All well." for deltas in answers)


def test_background_requests_come_last_and_leave_a_place_for_questions() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, engine(server.url, at_once=2) as model:
        work = [model.stream([Message("user", f"part {n}")], SHORT, None, "reader", Lane.BACKGROUND) for n in (1, 2)]
        readers = [threading.Thread(target=read_all, args=([stream],)) for stream in work]
        readers[0].start()
        wait_until(lambda: gate.order == ["part 1"])
        questions = [model.stream([Message("user", text)], SHORT, user=text) for text in ("q1", "q2")]
        assert [model.replicas.all[0].running, next(questions[1]).place, next(work[1]).place] == [2, 1, 2]
        readers += [
            threading.Thread(target=read_all, args=(questions,)),
            threading.Thread(target=list, args=(work[1],)),
        ]
        for reader in readers[2:]:
            reader.start()
        wait_until(lambda: gate.order == ["part 1", "q1"])
        gate.let(4)
        for reader in (readers[0], *readers[2:]):
            reader.join(60)
        assert gate.order[:3] == ["part 1", "q1", "q2"] and gate.order[3:] == ["part 2"]


def test_no_more_requests_run_at_a_server_than_was_set() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, engine(server.url, at_once=2) as model:
        streams = [model.stream([Message("user", str(n))], SHORT, user=str(n)) for n in range(5)]
        readers = threading.Thread(target=read_all, args=(streams,))
        readers.start()
        wait_until(lambda: len(gate.order) == 2)
        assert model.replicas.all[0].running == 2
        gate.let(5)
        readers.join(60)
        assert len(gate.order) == 5 and model.replicas.all[0].running == 0


def test_a_request_that_leaves_the_queue_takes_no_turn() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, engine(server.url, at_once=1) as model:
        running = model.stream([Message("user", "first")], SHORT, user="ann")
        cancel = threading.Event()
        cancelled = model.stream([Message("user", "cancelled")], SHORT, cancel, user="bob")
        dropped = model.stream([Message("user", "dropped")], SHORT, user="cy")
        last = model.stream([Message("user", "last")], SHORT, user="di")
        cancel.set()
        assert [delta.finish_reason for delta in cancelled][-1] == "cancelled"
        del dropped
        gate.let(9)
        read_all([running, last])
        assert gate.order == ["first", "last"]


def test_one_person_cannot_fill_the_queue() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, engine(server.url, at_once=1) as model:
        streams = [model.stream(HELLO, SHORT, user="ann") for _ in range(9)]
        with pytest.raises(LimitError, match="8 per user"):
            model.stream(HELLO, SHORT, user="ann")
        streams.append(model.stream(HELLO, SHORT, user="bob"))
        gate.let(99)
        read_all(streams)


def test_the_limits_of_the_settings_hold_before_other_servers_too() -> None:
    gate, limits = Gate(), AnswerLimits(waiting=3, waiting_per_user=2)
    with odd_server(chat=gate) as server, engine(server.url, at_once=1, limits=limits) as model:
        streams = [model.stream(HELLO, SHORT, user=user) for user in ("ann", "ann", "ann", "bob")]
        with pytest.raises(LimitError, match=r"3 requests wait .* 0 of them yours; the limit is 3 in all"):
            model.stream(HELLO, SHORT, user="cy")
        streams.pop().close()  # type: ignore[attr-defined]  # it is a generator
        with pytest.raises(LimitError, match=r"2 of them yours; .* 2 per user"):
            model.stream(HELLO, SHORT, user="ann")
        gate.let(9)
        read_all(streams)


def test_whoever_has_fewer_answers_under_way_goes_first_at_other_servers_too() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, ExitStack() as stack:
        model = stack.enter_context(engine(server.url, at_once=2, limits=AnswerLimits(running_per_user=1)))
        asked = [("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("bob", "b1")]
        streams = [model.stream([Message("user", text)], SHORT, user=user) for user, text in asked]
        readers = [threading.Thread(target=read_all, args=([stream],)) for stream in streams]
        for count, reader in enumerate(readers, start=1):
            reader.start()
            wait_until(lambda: len(gate.order) == min(count, 2))  # noqa: B023  # called at once
        for done in (1, 2, 4):
            gate.let(done)
            wait_until(lambda: len(gate.order) == min(done + 2, 4))  # noqa: B023  # called at once
        for reader in readers:
            reader.join(60)
        assert gate.order == ["a1", "a2", "b1", "a3"]


def test_a_question_that_waited_too_long_is_told_so_and_leaves_the_queue() -> None:
    gate = Gate()
    with odd_server(chat=gate) as server, ExitStack() as stack:
        model = stack.enter_context(engine(server.url, at_once=1, limits=AnswerLimits(wait_s=0.1)))
        first = model.stream(HELLO, SHORT, user="ann")
        patient = model.stream(HELLO, SHORT, None, "reader", Lane.BACKGROUND)
        with pytest.raises(LimitError, match=r"waited \d+ s for its turn; the limit is 0 s"):
            list(model.stream(HELLO, SHORT, user="bob"))
        gate.let(9)
        assert [text_of(deltas) for deltas in map(iter, read_all([first, patient]))] == ["All well."] * 2
        assert len(gate.order) == 2


def test_an_answer_over_its_time_ends_with_what_it_has() -> None:
    def slow(call: Call) -> None:
        call.begin()
        while call.event(content="on and ") and not call.ended.wait(0.05):
            pass

    with odd_server(chat=slow) as server, engine(server.url, limits=AnswerLimits(answer_s=0.3)) as model:
        deltas = list(model.stream(HELLO, GenerationSettings(max_tokens=4000)))
        assert deltas[-1].finish_reason == "timeout" and text_of(iter(deltas)).startswith("on and")
        assert model.replicas.all[0].running == 0 and model.replicas.all[0].usable


def test_an_answer_of_thoughts_alone_ends_at_its_time_too() -> None:
    def broods(call: Call) -> None:
        call.begin()
        while call.event(reasoning_content="Hmm.") and not call.ended.wait(0.05):
            pass

    with odd_server(chat=broods) as server, engine(server.url, limits=AnswerLimits(answer_s=0.5)) as model:
        deltas = list(model.stream(HELLO, SHORT))
        assert [delta.finish_reason for delta in deltas] == ["timeout"] and not text_of(iter(deltas))
        assert model.replicas.all[0].running == 0


def test_closing_ends_what_is_under_way() -> None:
    with odd_server(chat=hang) as server, engine(server.url) as model:
        deltas = model.stream(HELLO, SHORT)
        threading.Timer(0.2, model.close).start()
        with pytest.raises(AliothError, match=r"shutting down|answers"):
            list(deltas)


def test_a_model_that_keeps_falling_over_is_asked_ever_more_rarely() -> None:
    with odd_server(models=status(500)) as server, engine(server.url) as model:
        wait_until(lambda: model.replicas.all[0].failures >= 2)
        assert model.replicas.all[0].pause_s >= 2.0
        assert isinstance(server, OddServer)
