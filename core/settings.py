"""Every setting, its unit, its default and its rule. The only place that reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.addresses import server_urls
from core.errors import SettingsError

CHOSEN_LLM = Path("models", "in_use.json")
"""Under ALIOTH_HOME: the language model that `alioth models use` chose; ALIOTH_MODELS__LLM goes before it."""

REMOTE = "remote"
"""Begins the ids of models that another server computes: `remote:<its name there>`."""

Port = Annotated[int, Field(ge=0, le=65535)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebSettings(_Group):
    """The web process."""

    host: str = Field("127.0.0.1", description="Address the web page listens on. 0.0.0.0 means every network.")
    port: Port = Field(8501, description="TCP port of the web page.")
    public_url: str = Field("", description="Address people type, if another server stands in front of Alioth.")
    cookie_secure: bool = Field(False, description="Send the sign-in cookie over HTTPS only.")
    sign_in_hours: float = Field(24 * 14, gt=0, description="Hours a sign-in lasts.")
    max_upload_mb: int = Field(200, gt=0, description="Largest upload through the page, in MB.")


class IngestSettings(_Group):
    """Reading documents in."""

    max_file_mb: int = Field(200, gt=0, description="Largest file that is ingested, in MB.")
    max_pages: int = Field(5000, gt=0, description="Most pages, slides or sheets read from one file.")
    max_chars: int = Field(20_000_000, gt=0, description="Most characters of text read from one file.")
    parse_timeout_s: float = Field(120, gt=0, description="Seconds a parser may take for one file.")
    ocr_page_s: float = Field(
        20, ge=0, description="Seconds that each page with a picture to recognise adds to parse_timeout_s."
    )
    ocr_max_s: float = Field(3600, ge=0, description="Most seconds that pictures add to parse_timeout_s for one file.")
    parse_memory_mb: int = Field(2048, ge=256, description="Memory a parser process may use, in MB.")
    parse_workers: int = Field(
        2,
        ge=1,
        le=64,
        description="Parser processes side by side in one worker; one more reads small files beside large ones.",
    )
    chunk_tokens: int = Field(
        200, ge=32, description="Target size of a chunk, in tokens of the embedder (never over its window)."
    )
    chunk_overlap: int = Field(24, ge=0, description="Tokens of whole sentences repeated between chunks.")
    lease_s: float = Field(60, gt=1, description="Seconds after which a silent worker loses its document.")
    max_attempts: int = Field(3, ge=1, description="Times a document is tried when its worker dies.")
    watch_sources: bool = Field(
        True, description="Whether workers here keep folders in step that `alioth ingest sync --follow` named."
    )

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.chunk_overlap * 2 > self.chunk_tokens:
            raise ValueError(
                f"chunk_overlap is {self.chunk_overlap} tokens, over half of chunk_tokens ({self.chunk_tokens}). "
                "Lower ALIOTH_INGEST__CHUNK_OVERLAP."
            )
        return self


class ModelSettings(_Group):
    """The models process and what it loads."""

    url: str = Field("", description="Address of a models process that runs elsewhere; empty starts one here.")
    token: SecretStr = Field(SecretStr(""), description="Secret shared with a models process that runs elsewhere.")
    host: str = Field("127.0.0.1", description="Address the models process listens on.")
    port: Port = Field(0, description="Port of the models process; 0 takes a free one.")
    llm: str = Field("smollm2-135m-instruct", description="Catalogue id of the language model.")
    embedder: str = Field("all-minilm-l6-v2", description="Catalogue id of the embedder for new collections.")
    threads: int = Field(0, ge=0, description="CPU threads of the models process; 0 takes one per physical core.")
    context_tokens: int = Field(8192, ge=512, description="Window of the language model, in tokens.")
    gpu_layers: int = Field(-1, ge=-1, description="Layers put on the GPU; -1 all, 0 none.")
    slots: int = Field(
        0, ge=0, le=64, description="Answers computed side by side; 0 takes 16 on a GPU, else 4, as memory allows."
    )
    tensor_split: str = Field(
        "",
        pattern=r"^( *\d+(\.\d+)? *(, *\d+(\.\d+)? *)*)?$",
        description="Shares of several GPUs, as 3,1; 0 leaves one out; empty shares by their free memory.",
    )
    main_card: int = Field(-1, ge=-1, le=15, description="Number of the only GPU to use; -1 uses all.")
    flash_attention: Literal["auto", "on", "off"] = Field("auto", description="Flash attention of the language model.")
    cache_type: Literal["f16", "q8_0", "q4_0"] = Field(
        "f16", description="How read tokens are kept; q8_0 takes half the memory, q4_0 a quarter, and costs quality."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device of the embedder.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Number type of the embedder.")
    requantise: bool = Field(True, description="Make the fast Q8_0 copy of the bundled LLM once.")
    endpoint: str = Field(
        "", pattern="^(https?://[^ ]+)?$", description="Model hub or mirror that `models pull` gets files from."
    )
    waiting: int = Field(64, ge=1, le=256, description="Most requests that wait for the language model.")
    waiting_per_user: int = Field(8, ge=1, le=256, description="Most of them by one user.")
    running_per_user: int = Field(2, ge=1, le=64, description="Answers of one user side by side while others wait.")
    wait_s: float = Field(300, gt=0, description="Seconds a question may wait for its turn.")
    answer_s: float = Field(600, gt=0, description="Seconds one answer may take to generate.")
    keep_mb: int = Field(512, ge=0, description="MB of memory for what was read in recent conversations; 0 keeps none.")
    idle_s: float = Field(60, ge=0, description="Seconds that model and vector processes started by a command stay.")
    llm_urls: str = Field(
        "", description="Addresses of OpenAI-compatible servers that answer instead of a model here, by commas."
    )
    llm_key: SecretStr = Field(SecretStr(""), description="Key that those servers ask for.")
    llm_name: str = Field("", description="Name of the model there; empty takes the only one that they serve.")
    llm_window: int = Field(0, ge=0, description="Its window, in tokens; 0 asks the server.")
    llm_languages: str = Field(
        "", pattern="^([a-z]{2}(,[a-z]{2})*)?$", description="Languages it writes well, as zh,en; empty: by its name."
    )
    llm_size: Literal["auto", "small", "large"] = Field(
        "auto", description="small: its own wording is not trusted, so that automatic answers are quotes."
    )
    llm_concurrency: int = Field(4, ge=1, le=1024, description="Answers that each server computes at once.")
    llm_timeout_s: float = Field(
        120, gt=0, description="Seconds without a new piece of an answer; a whole one may take five times that."
    )
    llm_extra: str = Field("", description="JSON object of further fields for every request to those servers.")
    embedder_urls: str = Field("", description="Addresses of OpenAI-compatible embedding servers, by commas.")
    embedder_key: SecretStr = Field(SecretStr(""), description="Key that those servers ask for.")
    embedder_name: str = Field(
        "", description="Name of the embedding model there; the catalogue tells its window, languages and prefixes."
    )
    reranker: str = Field("", description="Catalogue id of the reranker; empty uses none.")
    reranker_urls: str = Field("", description="Addresses of rerank servers (POST /rerank), by commas.")
    reranker_key: SecretStr = Field(SecretStr(""), description="Key that those servers ask for.")
    reranker_name: str = Field("", description="Name of the reranker there.")

    @field_validator("llm_urls", "embedder_urls", "reranker_urls")
    @classmethod
    def _addresses(cls, value: str) -> str:
        return ",".join(server_urls(value))

    @field_validator("llm_extra")
    @classmethod
    def _json_object(cls, value: str) -> str:
        import json

        if value and not isinstance(json.loads(value), dict):  # json's own error is a ValueError too
            raise ValueError('it must be a JSON object such as {"chat_template_kwargs": {"enable_thinking": false}}')
        return value

    @model_validator(mode="after")
    def _named_after_their_servers(self) -> Self:
        for role in ("llm", "embedder", "reranker"):
            urls, name = getattr(self, f"{role}_urls"), getattr(self, f"{role}_name")
            if not urls:
                continue
            if role == "embedder" and not name:
                raise ValueError(
                    "ALIOTH_MODELS__EMBEDDER_URLS needs ALIOTH_MODELS__EMBEDDER_NAME, the model's name on that server: "
                    "collections are tied to it"
                )
            chosen = getattr(self, role)
            if role == "llm" or chosen == type(self).model_fields[role].default:
                object.__setattr__(self, role, f"{REMOTE}:{name}" if name else REMOTE)
        return self


class ChromaSettings(_Group):
    """The vector server."""

    url: str = Field("", description="Address of a Chroma server that runs elsewhere; empty starts one here.")


class ChatSettings(_Group):
    """Answers."""

    max_collections: int = Field(20, ge=1, le=100, description="Most collections one question searches.")
    max_question_chars: int = Field(4000, ge=1, description="Longest question, in characters.")
    passages: int = Field(6, ge=1, le=50, description="Most passages put into a prompt.")
    answer_tokens: int = Field(256, ge=16, description="Longest generated answer, in tokens.")
    first_token_s: float = Field(2.0, gt=0, description="Seconds the prompt may take to read; longer ones are cut.")
    temperature: float = Field(0.0, ge=0, le=2, description="Randomness of generated answers; 0 takes the likeliest.")
    preset: Literal["", "precise", "balanced", "creative"] = Field(
        "", description="How freely answers are generated; collections, conversations and questions may differ."
    )
    generation: str = Field("", description="JSON object of further settings of answers, as docs/generation.md has.")
    mode: Literal["automatic", "answer", "quote"] = Field(
        "automatic", description="answer generates, quote shows exact sentences, automatic chooses."
    )
    unattached_s: float = Field(10, gt=0, description="Seconds an answer goes on when no page shows it.")

    @field_validator("generation")
    @classmethod
    def _answer_settings(cls, value: str) -> str:
        from core.answer_settings import AnswerSettings
        from core.errors import InputError

        try:
            AnswerSettings.from_json(value)
        except InputError as error:
            raise ValueError(str(error)) from error
        return value


class LogSettings(_Group):
    """Logs."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe line written.")
    max_mb: int = Field(10, ge=1, description="Size of one log file before it is rotated, in MB.")
    backups: int = Field(3, ge=0, description="Rotated log files kept per process.")
    stderr: bool = Field(False, description="Write log lines of services to stderr too, as containers want it.")


class Settings(BaseSettings):
    """All settings. Build with `load_settings`; hand each part its own group only."""

    model_config = SettingsConfigDict(
        env_prefix="ALIOTH_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    home: Path = Field(Path("~/.alioth"), description="The data directory.")
    database_url: str = Field("", description="SQLAlchemy address of the database; empty means SQLite in the home.")
    web: WebSettings = WebSettings()
    ingest: IngestSettings = IngestSettings()
    models: ModelSettings = ModelSettings()
    chroma: ChromaSettings = ChromaSettings()
    chat: ChatSettings = ChatSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _expand_home(self) -> Self:
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        return self

    @property
    def sql_url(self) -> str:
        """The database address with the default filled in."""
        return self.database_url or f"sqlite:///{self.home / 'alioth.db'}"


def load_settings(**overrides: object) -> Settings:
    """Read the environment; keyword arguments win.

    Raises:
        SettingsError: a value breaks its rule, or an `ALIOTH_…` variable is unknown.
    """
    _refuse_unknown_variables()
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks the values
        chosen_here = llm_is_set() or "models" in overrides or settings.models.llm_urls
        return settings if chosen_here else _with_chosen_llm(settings)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "ALIOTH_" + "__".join(str(part) for part in problem["loc"]).upper()
            given = problem.get("input")
            # a whole group may hold keys, and an address a password
            shown = "" if isinstance(given, dict) or "@" in str(given) else f" is {given!r}"
            lines.append(f"{name}{shown}: {problem['msg']}.")
        raise SettingsError(" ".join(lines), "docs/settings.md lists every setting.") from error


def llm_is_set() -> bool:
    """Whether the environment names the language model, so that no choice made at run time counts."""
    import os

    return any(name.upper() == "ALIOTH_MODELS__LLM" for name in os.environ)


def _with_chosen_llm(settings: Settings) -> Settings:
    import json

    try:
        chosen = json.loads((settings.home / CHOSEN_LLM).read_text(encoding="utf-8"))["llm"]
    except (OSError, ValueError, KeyError, TypeError):
        return settings
    models = settings.models.model_copy(update={"llm": str(chosen)})
    return settings.model_copy(update={"models": models})


def variable_names() -> dict[str, str]:
    """Environment variable to description, for every setting, in declaration order."""
    names: dict[str, str] = {}
    for key, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, _Group):
            for sub, sub_info in info.annotation.model_fields.items():
                names[f"ALIOTH_{key}__{sub}".upper()] = sub_info.description or ""
        else:
            names[f"ALIOTH_{key}".upper()] = info.description or ""
    return names


def _refuse_unknown_variables() -> None:
    import difflib
    import os

    known = set(variable_names())
    for name in sorted(os.environ):
        if name.startswith("ALIOTH_") and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "docs/settings.md lists every setting."
            raise SettingsError(f"Unknown setting {name!r}.", hint)
