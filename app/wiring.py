"""The composition root: the only place that knows every concrete part. Everything is built on first use."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.services import run_folder
from core.errors import FingerprintMismatchError, NotFoundError
from core.settings import REMOTE, Settings, load_settings
from core.types import SYSTEM, Collection, Fingerprint, Principal

if TYPE_CHECKING:
    from app.quality import QualityLab
    from auth.accounts import Accounts
    from auth.permissions import Permissions
    from chat.answer import Answerer
    from chat.events import AnswerEvent
    from chat.retrieval.retrieve import Retriever, Searches
    from chat.running import RunningAnswers
    from chat.tasks.document_tasks import DocumentTasks
    from ingest.doorbell import Doorbell
    from ingest.intake import Intake
    from ingest.parser_pool import ParserPool
    from ingest.pipeline import Pipeline
    from ingest.sync import Sync
    from models.client.connection import ModelsClient
    from models.protocols import Embedder, LanguageModel, Reranker
    from storage.accounts import AccountStore
    from storage.answer_settings import AnswerSettingsStore
    from storage.audit import AuditLog
    from storage.chunks import ChunkStore
    from storage.collections import CollectionStore
    from storage.conversations import ConversationStore
    from storage.database import Database
    from storage.documents import DocumentStore
    from storage.files import FileStore
    from storage.filtering import FilterStore
    from storage.glossary import GlossaryStore
    from storage.keyword import KeywordIndex
    from storage.leftovers import Leftovers
    from storage.reindex import ReindexStore
    from storage.sources import SourceStore
    from storage.vectors import VectorIndex
    from storage.watches import WatchStore


class Alioth:
    """One process's parts. Thread-safe once built.

    Args:
        settings: all settings; each part gets its own group.
        start_services: start an absent Chroma or models process on first use. False in processes that a
            supervisor watches: it restarts them.
    """

    def __init__(self, settings: Settings, *, start_services: bool = True) -> None:
        self.settings = settings
        self.start_services = start_services
        self.worker_name = f"{os.uname().nodename[:30]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._building = threading.RLock()
        run_folder(settings)

    # ---------------------------------------------------------------- storage

    @cached_property
    def db(self) -> Database:
        """The database, migrated when this process may (SQLite on this machine), else only checked."""
        from storage.database import Database
        from storage.migrate import migrate, require_current

        database = Database(self.settings.sql_url)
        if self.start_services:
            migrate(database, run_folder(self.settings))
        else:
            require_current(database)
        return database

    @cached_property
    def collections(self) -> CollectionStore:
        from storage.collections import CollectionStore

        return CollectionStore(self.db)

    @cached_property
    def documents(self) -> DocumentStore:
        from storage.documents import DocumentStore

        return DocumentStore(self.db)

    @cached_property
    def chunks(self) -> ChunkStore:
        from storage.chunks import ChunkStore

        return ChunkStore(self.db)

    @cached_property
    def filtering(self) -> FilterStore:
        from storage.filtering import FilterStore

        return FilterStore(self.db)

    @cached_property
    def glossary(self) -> GlossaryStore:
        from storage.glossary import GlossaryStore

        return GlossaryStore(self.db)

    @cached_property
    def conversations(self) -> ConversationStore:
        from storage.conversations import ConversationStore

        return ConversationStore(self.db)

    @cached_property
    def answer_settings(self) -> AnswerSettingsStore:
        from storage.answer_settings import AnswerSettingsStore

        return AnswerSettingsStore(self.db)

    @cached_property
    def accounts_store(self) -> AccountStore:
        from storage.accounts import AccountStore

        return AccountStore(self.db)

    @cached_property
    def audit(self) -> AuditLog:
        from storage.audit import AuditLog

        return AuditLog(self.db)

    @cached_property
    def files(self) -> FileStore:
        from storage.files import DatabaseFileStore, FolderFileStore

        if self.db.dialect == "postgresql":
            return DatabaseFileStore(self.db)
        return FolderFileStore(self.settings.home / "files")

    @cached_property
    def leftovers(self) -> Leftovers:
        from storage.leftovers import Leftovers

        return Leftovers(self.documents, self.files, self.collections, lambda: self.vectors)

    @cached_property
    def vectors(self) -> VectorIndex:
        from storage.vectors import VectorIndex

        return VectorIndex(self.chroma_url())

    @cached_property
    def keyword(self) -> KeywordIndex:
        from storage.keyword import KeywordIndex

        return KeywordIndex(self.settings.home / "keyword", self.db)

    def chroma_url(self) -> str:
        """Address of the Chroma server; starts one on this machine when none is set and none runs."""
        if self.settings.chroma.url:
            return self.settings.chroma.url
        from app.supervise import ensure

        with self._building:
            return str(ensure(self.settings, "chroma", start=self.start_services)["url"])

    def is_there(self, name: str) -> bool:
        """Whether `chroma` or `models` can be reached now; unlike using them, this never waits nor starts them."""
        elsewhere = {"chroma": self.settings.chroma.url, "models": self.settings.models.url}
        if elsewhere[name]:
            return True
        from app.supervise import find

        return find(self.settings, name) is not None

    # ---------------------------------------------------------------- models

    @cached_property
    def models(self) -> ModelsClient:
        settings = self.settings.models
        if settings.url:
            return self._models_client(settings.url, settings.token.get_secret_value())
        from app.supervise import ensure

        with self._building:
            known = ensure(self.settings, "models", start=self.start_services)
        return self._models_client(str(known["url"]), str(known["token"]))

    def _models_client(self, url: str, token: str) -> ModelsClient:
        from models.client.connection import ModelsClient

        chosen = self.settings.models
        return ModelsClient(url, token, self.settings.home, llm_id=chosen.llm, embedder_id=chosen.embedder)

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder of new collections."""
        return self.models.embedder(self.settings.models.embedder)

    @cached_property
    def llm(self) -> LanguageModel:
        return self.models.llm()

    @cached_property
    def reranker(self) -> Reranker | None:
        """The reranker of the settings, None without one."""
        chosen = self.settings.models.reranker
        return self.models.reranker(chosen) if chosen else None

    def embedder_for(self, collection: Collection) -> Embedder:
        """The embedder that made this collection's vectors; the models process loads it if need be.

        Raises:
            FingerprintMismatchError: the catalogue does not have it any more, or with other weights or prefixes.
        """
        from models.protocols import fingerprint_of

        want = collection.fingerprint
        try:
            embedder = self.models.embedder(want.embedder_id)
        except NotFoundError as error:
            raise FingerprintMismatchError(
                f"Collection '{collection.name}' was embedded with '{want.embedder_id}', which the catalogue does not "
                "name.",
                "Put it back into ALIOTH_HOME/models/catalog.toml, or make the index anew with another embedder: "
                f"alioth collection reindex '{collection.name}' --embedder ID",
            ) from error
        if fingerprint_of(embedder, want.chunker_version).space != want.space:
            raise FingerprintMismatchError(
                f"Collection '{collection.name}' was embedded with other weights or prefixes of '{want.embedder_id}' "
                f"({want.dimension} dimensions) than are installed now ({embedder.dimension} dimensions).",
                "Put the former files back, or make the index anew, while keywords go on answering: "
                f"alioth collection reindex '{collection.name}'",
            )
        return embedder

    # ---------------------------------------------------------------- ingest

    @cached_property
    def parsers(self) -> ParserPool:
        from ingest.parser_pool import ParserPool

        # one more than parse at once, for a small file while the others are in large ones
        return ParserPool(self.settings.ingest, self.settings.ingest.parse_workers + 1, self._original_folders)

    @property
    def _original_folders(self) -> list[Path]:
        """Where files to parse lie: the only ones of the data directory that a parser can open."""
        if self.db.dialect == "postgresql":
            return [Path(tempfile.gettempdir())]
        return [self.settings.home / "files"]

    @cached_property
    def doorbell(self) -> Doorbell:
        from ingest.doorbell import Doorbell

        return Doorbell(self.settings.home, self.settings.sql_url)

    @cached_property
    def intake(self) -> Intake:
        from ingest.intake import Intake

        return Intake(self.settings.ingest, self.documents, self.files, self.doorbell)

    @cached_property
    def pipeline(self) -> Pipeline:
        from ingest.pipeline import Pipeline

        return Pipeline(
            settings=self.settings.ingest,
            documents=self.documents,
            vectors=self.vectors,
            keyword=self.keyword,
            files=self.files,
            embedder_for=self.embedder_for,
            parsers=self.parsers,
            worker=self.worker_name,
            collections=self.collections,
        )

    @cached_property
    def sources(self) -> SourceStore:
        from storage.sources import SourceStore

        return SourceStore(self.db, run_folder(self.settings))

    @cached_property
    def watches(self) -> WatchStore:
        from storage.watches import WatchStore

        return WatchStore(self.db)

    @cached_property
    def sync(self) -> Sync:
        from ingest.sync import Sync

        return Sync(self.sources, self.documents, self.intake)

    def create_collection(
        self,
        name: str,
        embedder_id: str | None = None,
        chunk_tokens: int | None = None,
        chunk_overlap: int | None = None,
    ) -> Collection:
        """A new collection; what is not given follows the settings. Loads no weights.

        Raises:
            NotFoundError: no such embedder. WeightsError: its files are not here.
            InputError: see ingest.chunk_settings.choose.
        """
        fingerprint, settings = self.index_for(embedder_id, chunk_tokens, chunk_overlap)
        return self.collections.create(name, fingerprint, settings)

    def index_for(
        self, embedder_id: str | None, chunk_tokens: int | None, chunk_overlap: int | None
    ) -> tuple[Fingerprint, dict[str, int]]:
        """Fingerprint and own settings of an index made now. Loads no weights; raises as `create_collection`."""
        from ingest.chunk_settings import choose, chunker_version
        from models.client.connection import ModelsClient
        from models.protocols import fingerprint_of

        chosen = embedder_id or self.settings.models.embedder
        if chosen.startswith(f"{REMOTE}:"):
            facts = self.models.embedder(chosen)  # another server has it, so only the models process knows
        else:
            facts = ModelsClient("", "", self.settings.home).embedder(chosen)  # asks no server
        settings = choose(facts, self.settings.ingest, chunk_tokens, chunk_overlap)
        return fingerprint_of(facts, chunker_version(settings)), settings

    @cached_property
    def reindexes(self) -> ReindexStore:
        from storage.reindex import ReindexStore

        return ReindexStore(self.db)

    # ---------------------------------------------------------------- chat

    @cached_property
    def retriever(self) -> Retriever:
        from chat.retrieval.retrieve import Retriever

        return Retriever(
            self.chunks, self.vectors, self.keyword, self.embedder_for, self.filtering, self.glossary, self.reranker
        )

    @cached_property
    def answerer(self) -> Answerer:
        return self.answerer_with(self.retriever)

    def answerer_with(self, retriever: Searches, guard: bool = True, *, background: bool = False) -> Answerer:
        """An answerer that searches through another retriever; see `chat.prompt.build_prompt` for `guard`.

        background: its answers wait until nobody else asks.
        """
        from chat.answer import Answerer
        from models.protocols import Lane

        lane = Lane.BACKGROUND if background else Lane.QUESTION
        return Answerer(self.settings.chat, retriever, self.chunks, self.llm, self.glossary, guard=guard, lane=lane)

    @cached_property
    def tasks(self) -> DocumentTasks:
        from chat.tasks.document_tasks import DocumentTasks

        return DocumentTasks(self.chunks, lambda: self.retriever, lambda: self.llm)

    @cached_property
    def running(self) -> RunningAnswers:
        from chat.running import RunningAnswers

        def answer(*arguments: Any) -> Iterator[AnswerEvent]:
            return self.answerer.answer(*arguments)

        def may_ask(user_id: str) -> bool:
            user = self.accounts_store.user_by_id(user_id)
            return user is None or not user.disabled  # the system and commands are no user

        return RunningAnswers(answer, self.conversations, self.settings.chat.unattached_s, may_ask=may_ask)

    @cached_property
    def quality(self) -> QualityLab:
        from app.quality import QualityLab

        return QualityLab(self)

    # ---------------------------------------------------------------- people

    @cached_property
    def accounts(self) -> Accounts:
        from auth.accounts import Accounts

        return Accounts(self.accounts_store, self.audit, self.settings.web.sign_in_hours)

    @cached_property
    def permissions(self) -> Permissions:
        from auth.permissions import Permissions

        return Permissions(self.accounts_store, self.collections)

    def principal(self, name: str | None) -> Principal:
        """The user of that name, or the system principal for None.

        Raises:
            NotFoundError: no such user, or the account is disabled.
        """
        if name is None:
            return SYSTEM
        user = self.accounts_store.user_by_name(name)
        if user is None or user.disabled:
            raise NotFoundError(f"No active user is called '{name}'.", "See `alioth user list`.")
        return Principal(user_id=user.id, name=user.name, is_admin=user.is_admin)

    def close(self) -> None:
        """Stop what runs in the background and close every connection that was opened."""
        for name in ("running", "retriever", "parsers", "doorbell", "vectors", "db"):
            if name in self.__dict__:
                self.__dict__[name].close()


_instance: Alioth | None = None
_instance_lock = threading.Lock()


def get() -> Alioth:
    """The process's one instance; built from the environment when nobody set another."""
    global _instance
    with _instance_lock:
        if _instance is None:
            _instance = Alioth(load_settings())
        return _instance


def use(alioth: Alioth) -> None:
    """Make this the process's instance."""
    global _instance
    with _instance_lock:
        _instance = alioth
