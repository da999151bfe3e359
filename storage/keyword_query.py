"""Queries of a keyword index: any of some words, other words that may stand for them, words that must be there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

Instead = tuple[Sequence[str], Sequence[str]]
"""Words of a question, and other words that may stand for them."""

PATH_BOOST: Final = 0.5
"""Weight of a word in the document's path against the same word in its text, title or headings."""
INSTEAD_BOOST: Final = 0.5
"""Most that the other words for a term weigh, all together, against the term itself."""
_MAX_TERMS: Final = 200


def any_of(searcher: Any, schema: Any, tokens: Sequence[str], instead: Sequence[Instead]) -> Any:
    """Any of the tokens in body or path, a repeated one counted as often as it stands in the question."""
    from tantivy import Occur, Query

    counts: dict[str, float] = {**_weights_instead(searcher, instead), **Counter(tokens)}
    words = list(counts)
    if len(words) > _MAX_TERMS:  # the rarest say most; a page pasted as a question must not take seconds
        frequency = {word: searcher.doc_freq("body", word) for word in words}
        words = sorted((w for w in words if frequency[w]), key=lambda w: frequency[w])[:_MAX_TERMS]
    parts: list[tuple[Any, Any]] = []
    for word in words:
        for field, boost in (("body", 1.0), ("path", PATH_BOOST)):
            term = Query.term_query(schema, field, word, index_option="freq")
            weight = boost * counts[word]
            parts.append((Occur.Should, term if weight == 1.0 else Query.boost_query(term, weight)))
    return Query.boolean_query(parts)


def _weights_instead(searcher: Any, groups: Sequence[Instead]) -> dict[str, float]:
    """Weight of each other word: all of a group together weigh at most half of what the words they stand for do."""
    weights: dict[str, float] = {}
    for own, others in groups:
        theirs = _rarity(searcher, others)
        scale = _rarity(searcher, own) / theirs if theirs else 0.0
        for word in others:
            weights[word] = max(weights.get(word, 0.0), INSTEAD_BOOST * (min(1.0, scale) if scale else 1.0))
    return weights


def _rarity(searcher: Any, words: Sequence[str]) -> float:
    """Sum of BM25's inverse document frequencies; 0 for words that no chunk has."""
    counts = [searcher.doc_freq("body", word) for word in set(words)]
    return sum(math.log1p((searcher.num_docs - found + 0.5) / (found + 0.5)) for found in counts if found)


def narrowed(schema: Any, query: Any, required: Sequence[str], versions: Sequence[str] | None) -> Any:
    """The query among the chunks that have all required words and are of these versions; the scores stay."""
    from tantivy import Occur, Query

    conditions = [
        Query.boolean_query(
            [(Occur.Should, Query.term_query(schema, name, word, index_option="freq")) for name in ("body", "path")]
        )
        for word in dict.fromkeys(required)
    ]
    if versions is not None:
        conditions.append(Query.term_set_query(schema, "version", list(versions)))
    if not conditions:
        return query
    parts = [(Occur.Must, Query.const_score_query(condition, 0.0)) for condition in conditions]
    return Query.boolean_query([(Occur.Must, query), *parts])
