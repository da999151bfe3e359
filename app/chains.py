"""Alioth inside a company's own LangChain programs, with the rights of one user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from core.filters import Filters
from core.types import SYSTEM, Collection, Principal, Role

if TYPE_CHECKING:
    from app.wiring import Alioth
    from chat.langchain import AliothAnswers, AliothRetriever


def retriever_for(
    alioth: Alioth,
    collections: Sequence[str],
    user: str | None = None,
    k: int = 10,
    filters: Filters | None = None,
) -> AliothRetriever:
    """A LangChain retriever over collections by name, with the rights of `user` (None: the system's).

    The rights are asked for at every question, so that a grant that is taken back holds at once.

    Raises:
        NotFoundError: no such user or collection, or it is not shared with the user; also at a later question.
    """
    from chat.langchain import AliothRetriever

    return AliothRetriever(
        retriever=alioth.retriever, allowed=_allowed(alioth, collections, user), k=k, filters=filters or Filters()
    )


def answers_for(alioth: Alioth, collections: Sequence[str], user: str | None = None) -> AliothAnswers:
    """A LangChain Runnable from question to cited, checked answer; rights and errors as of `retriever_for`."""
    from chat.langchain import AliothAnswers

    return AliothAnswers(alioth.answerer.answer, _allowed(alioth, collections, user))


def _allowed(alioth: Alioth, names: Sequence[str], user: str | None) -> Callable[[], list[Collection]]:
    def now() -> list[Collection]:
        who: Principal = alioth.principal(user) if user is not None else SYSTEM
        return [alioth.permissions.require(who, alioth.collections.get(name).id, Role.READ) for name in names]

    now()
    return now
