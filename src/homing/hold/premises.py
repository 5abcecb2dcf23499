"""What a message takes for granted, by rule: its premises, a premise that was stated, and the sentences that can be a ground."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Premise", "premises", "stated", "supplied"]

MOST = 3
"""Premises of one message that are checked."""
LEAST_WORDS = 3
"""Fewer words are no clause."""
_WH = r"(?:what|which|who|whom|whose|when|where|why|how)"
_AUX = r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|shall|may|might|must)(?!\w)"
_END = re.compile(r"(?<=[.?!])(?<!\bMr\.)(?<!\bDr\.)(?<!\bMrs\.)(?<!\bSt\.)\s+|\n+")
_LEAD = r"^(?:(?:and|but|so|then|well|okay|ok|now|please)\b[, ]+(?!that\b))*"
_KNOW = (
    r"(?:know|knows|knew|known|realis(?:e|es|ed)|realiz(?:e|es|ed)|notic(?:e|es|ed)|discover(?:s|ed)?|learn(?:s|ed|t)?|"
    r"regret(?:s|ted)?|resent(?:s|ed)?|forg(?:et|ets|ot|otten)|remember(?:s|ed)?|found out|find out|see|sees|saw|the fact|"
    r"aware|glad|happy|sorry|sad|angry|proud|surprised|pleased|odd|strange|a pity|a shame)"
)
_TAIL = re.compile(rf",\s+(?:(?:and|but|so|then)\s+)?(?:{_WH}|{_AUX})\b.*$", re.I)
_SETTLED = re.compile(
    rf"{_LEAD}(?:is|was|isn't|wasn't) (?:it|that|this) (?:really |indeed )?(?:true|so|right|correct|the case)\b|^true or false\b",
    re.I,
)
"""Asks whether something is so: what is asked is not taken for granted."""
_CLEFT = re.compile(rf"{_LEAD}(?:why|when|how|where|since when) (is|was) it (.+?) (that|who|which) (.+)$", re.I)
_WHY_THAT = re.compile(rf"{_LEAD}(?:why is it that|how come(?: that)?|how is it that) (.+)$", re.I)
_BEFORE = re.compile(
    rf"{_LEAD}(?:now that|given that|seeing that|since|because|after|while|although|even though|though)"
    rf" (.+?), (?={_WH}\b|{_AUX})",
    re.I,
)
_FACTIVE = re.compile(rf"\b{_KNOW} that (.+)$", re.I)
_CHANGE = re.compile(
    rf"{_LEAD}(?:{_WH} )?(has|have|had|did|does|do|will|is|are) (.+?) (?:(?:ever|finally|already|just|now) )?"
    r"(?:stop|stopped|stopping|cease|ceased|quit|finished|given up|gave up|give up) (\w+ing\b.*?)(?: yet| already| now)?$",
    re.I,
)
_STILL = re.compile(rf"{_LEAD}(?:{_WH} )?(does|do|did|is|are|was|were) (.+?) still (.+)$", re.I)
_AGAIN = re.compile(
    rf"{_LEAD}(?:{_WH} )?(will|would|does|do|did|can|could) (.+?) (?:again|once more|any ?more|any longer)\b.*$", re.I
)
_WHY = re.compile(rf"{_LEAD}why (do|does|did|is|are|was|were|has|have|had)(n't)? (not )?(.+)$", re.I)
_DID = re.compile(rf"{_LEAD}(?:when|where|how long ago) (did) (.+)$", re.I)
_AFTER = re.compile(r"\b(?:now that|given that|seeing that|because|even though|although) (.+)$", re.I)
_WHO = r"(?:i|we|they|he|she|people|everybody|everyone|some people|most people|(?:my|the|our) \w+)"
_BELIEF = re.compile(
    rf"{_LEAD}(?:(?:no|yes), )?{_WHO} (?:really |still |all |do )?(?:(?:am|are|is) (?:\w+ )?(?:sure|certain|convinced|positive)"
    r"(?: that)?|(?:think|thinks|believe|believes)(?: that)?|(?:says?|claims?|knows?|insists?|swears?|told me|tells? me|agree|"
    r"agrees) that) (.+?)[.!]*$",
    re.I,
)
_CLAIMED = re.compile(
    rf"^(?:no|yes)\b|{_LEAD}(?:{_WHO}|nobody)\b.*\b(?:sure|certain|convinced|positive|think|thinks|believe|believes|says?|claims?|"
    r"knows?|insists?|agree|agrees|argue|swears?|told|tells?)\b",
    re.I,
)
"""The user's own belief or somebody's word for it: no ground to judge a claim by."""
_OWN = frozenset({"i", "i'm", "my", "we", "our", "me", "us", "mine", "ours", "myself"})
"""First words of what the user says of himself, which a model cannot judge."""
_OTHERS = frozenset({"i", "you", "we", "they", "people"})
_NOT_OWNERS = frozenset(
    re.findall(
        r"\w+", "it that this what who where when why how there here let he she one everything something nothing name"
    )
)
"""Before ``'s`` these are short for "it is" and the like."""
_BOUNDS = frozenset(re.findall(r"\w+", (
    "about of in on at to for with from by near under over behind beside between into onto after before during without like"
    " as and or but if than that which who whom what when where why how is are was were do does did has have had can could"
    " will would should shall may might must be been"
)))  # fmt: skip
_DETERMINERS = frozenset(re.findall(r"\w+", "the a an this these those each every your his her their"))
_BASE = frozenset(re.findall(r"\w+", (
    "accept add agree allow appear arrive ask avoid become begin believe belong bite blame borrow break bring build burn"
    " buy call carry cause celebrate change choose claim climb close collect come contain cook cost count cover cross cry"
    " cut dance decide defeat deny die discover draw dream drink drive drop earn eat end enjoy enter exist fail fall fear"
    " feed feel fight fill find fix float fly follow forbid forget found freeze gain get give go grow happen hate have hear"
    " help hide hire hit hold hunt hurt invent join jump keep kick kill know land lay lead learn leave lend lie live lose"
    " love make marry mean measure meet melt migrate miss move need occur open orbit own paint pay plant play possess"
    " precede prefer produce prove publish pull push put quit read reach receive refuse reject remain resign return ride"
    " ring rise roast rob rule run sail say sell send serve shine shoot show shut sing sink sit sleep smell smile speak"
    " spend spin stand start stay steal stop study support surrender swim take taste teach tell think throw travel turn use"
    " visit vote walk want wash wear weigh win wish work write"
)))  # fmt: skip
"""Verbs in their base form: where exactly one of them stands in a question, it is where its statement is put together."""


@dataclass(frozen=True, slots=True)
class Premise:
    """Something that a message takes for granted.

    Attributes:
        claim: a clause, without its full stop. ``denial``: a clause that is true where the claim is false.
        trigger: the form it was found by.
    """

    claim: str
    denial: str
    trigger: str

    def same_as(self, sentence: str) -> bool:
        """Whether a sentence says nothing less than the claim, word by word."""
        return set(_words(self.claim)) <= set(_words(sentence))


def premises(text: str) -> tuple[Premise, ...] | None:
    """What a message takes for granted, or is said in it to be believed; at most :data:`MOST`.

    What the user says of himself is not among them. Nothing where nothing is asked or what is asked is whether something is so;
    None where something is asked in a form that no rule knows.
    """
    found: dict[str, Premise] = {}
    unknown = False
    for s in _sentences(text):
        if s.endswith("?"):
            got = _in_question(s.rstrip("?").strip())
            unknown = unknown or got is None
        else:
            got = _clauses("belief", _BELIEF.search(s))
        for p in got or ():
            if _words(p.claim)[0] not in _OWN:
                found.setdefault(p.claim, p)
    return tuple(found.values())[:MOST] if found or not unknown else None


def _in_question(q: str) -> tuple[Premise, ...] | None:
    """The premise of one question, by the first rule that knows its form; None where none does."""
    if _SETTLED.search(q):
        return ()
    if (m := _CLEFT.search(q)) is not None:
        return (_emphatic("it", m[1].lower(), f"{m[2]} {m[3]} {m[4]}", "cleft"),)
    for trigger, rule in (("wh", _WHY_THAT), ("temporal", _BEFORE), ("factive", _FACTIVE)):
        if got := _clauses(trigger, rule.search(q)):
            return got
    if (m := _CHANGE.search(q)) is not None:
        have = "have" if m[2].lower() in _OTHERS else "has"
        return (_emphatic(m[2], have, f"been {m[3]}", "change of state"),)
    if (m := _STILL.search(q)) is not None:
        return (_emphatic(m[2], m[1].lower(), m[3], "iterative"),)
    if (m := _AGAIN.search(q)) is not None:
        does = "did" if m[1].lower() == "did" else "do" if m[2].split()[0].lower() in _OTHERS else "does"
        return (_declared(does, m[2], "iterative"),)
    if (m := _WHY.search(q)) is not None:
        if len(m[4].split()) < LEAST_WORDS and m[4].split()[0].lower() in ("it", "that", "this"):
            return ()  # "Why is that so?": what is asked about was said before
        if m[2] or m[3]:
            p = _declared(m[1].lower(), m[4], "wh")
            # "Why don't you sit down?" is an offer, not a question
            return () if m[4].split()[0].lower() in ("you", "we") else (Premise(p.denial, p.claim, "wh"),)
        return (_declared(m[1].lower(), m[4], "wh"),)
    if (m := _DID.search(q)) is not None:
        return (_declared("did", m[2], "wh"),)
    return _clauses("temporal", _AFTER.search(q)) or _owned(q) or None


def _clauses(trigger: str, m: re.Match[str] | None) -> tuple[Premise, ...]:
    """The first group of a match as a claim, where it is long enough for a clause."""
    clause = _TAIL.sub("", m[1]).strip(" ,;") if m is not None else ""
    if len(clause.split()) < LEAST_WORDS:
        return ()
    return (Premise(clause, f"it is not so that {clause}", trigger),)


def _emphatic(subject: str, aux: str, rest: str, trigger: str) -> Premise:
    return Premise(f"{subject} {aux} {rest}", f"{subject} {aux} not {rest}", trigger)


def _declared(aux: str, body: str, trigger: str) -> Premise:
    """A question as a statement: with "does" before its verb where that is known, else as the answer to it."""
    words = body.split()
    at = [i for i, w in enumerate(words) if i and w.lower() in _BASE]
    if aux in ("do", "does", "did") and len(at) == 1:
        denied = at[0] > 1 and words[at[0] - 1].lower() == "not"
        p = _emphatic(" ".join(words[: at[0] - denied]), aux, " ".join(words[at[0] :]), trigger)
        return Premise(p.denial, p.claim, trigger) if denied else p
    polar = f'the answer to "{aux.capitalize()} {body}?" is'
    return Premise(f"{polar} yes", f"{polar} no", trigger)


def _bounds(word: str, *, first: bool = False) -> bool:
    """Whether a noun phrase ends at a word. A capital inside a question is a name's: May is a month there."""
    return (word.lower() if first else word) in _BOUNDS


def _owned(q: str) -> tuple[Premise, ...]:
    """What somebody is said to have: the first possessive of a question."""
    words = q.replace("\u2019", "'").split()
    for i, w in enumerate(words):
        owner = w[:-2]
        if not w.lower().endswith("'s") or owner.lower() in _NOT_OWNERS:
            continue
        start = i
        while start and not _bounds(words[start - 1], first=start == 1) and not words[start - 1].endswith(","):
            start -= 1
        span = words[start : i + 1]
        if len(owner) > 1 and owner[0].isupper():
            while len(span) > 1 and not span[-2][0].isupper():
                span = span[-1:]
        else:
            at = max((k for k, x in enumerate(span) if x.lower() in _DETERMINERS), default=0)
            span = span[at:]
        end = next(
            (k for k in range(i + 1, len(words)) if _bounds(words[k]) or words[k - 1].endswith(",")),
            len(words),
        )
        thing = words[i + 1 : end]
        if words[0].lower() in ("is", "are", "was", "were") and end == len(words) and len(thing) > 1:
            thing = thing[:-1]  # "Is Anna's goat white": what is said of it is no part of it
        if thing:
            said = f"thing as {' '.join((*span, *thing)).rstrip(',')}"
            return (Premise(f"there is such a {said}", f"there is no such {said}", "possessive"),)
    return ()


_OPENERS = re.compile(
    r"^(?:(?:sure|okay|ok|well|yes|of course)\b[,.!:]?\s*)?(?:(?:here is )?(?:(?:the|this|your) )?(?:premise|assumption|"
    r"statement|fact|presupposition|answer)(?: of the (?:question|message))?(?: is)?\s*[:-]?\s+(?:that )?|"
    r"(?:it|he|she|(?:the|this|your) (?:message|question|user|statement)) "
    r"(?:takes?(?: it)? for granted|assumes|presupposes|supposes|implies|states)\s*:?\s*(?:that )?)?",
    re.I,
)
_NOTHING = re.compile(r"^(?:nothing|none|no\b|n/a|i\b|i'm\b|sorry|there is no|it takes nothing)", re.I)
_LOWERED = _DETERMINERS | {"it", "that", "he", "she", "they", "there"}


def stated(text: str) -> Premise | None:
    """The premise in a reply that was to state it in one sentence; None where the reply is no such sentence."""
    line = next((x for x in (y.strip(" \t*-\"'\u201c\u201d") for y in text.splitlines()) if x), "")
    line = _OPENERS.sub("", line, count=1).strip(" \"'\u201c\u201d")
    first = next(iter(_sentences(line)), "").strip("\"'\u201c\u201d ")
    clause = first.rstrip(".!\"'\u201c\u201d")
    if first.endswith("?") or _NOTHING.search(clause) or not LEAST_WORDS <= len(clause.split()) <= 30:
        return None
    if clause.split()[0].lower() in _LOWERED:
        clause = clause[0].lower() + clause[1:]
    return Premise(clause, f"it is not so that {clause}", "stated")


def supplied(text: str) -> list[str]:
    """The sentences of a message that can be a ground: no questions, nobody's beliefs."""
    return [
        s for s in _sentences(text) if not s.endswith("?") and not _CLAIMED.search(s) and len(s.split()) >= LEAST_WORDS
    ]


def _sentences(text: str) -> list[str]:
    return [s.strip() for s in _END.split(text) if s.strip()]


def _words(text: str) -> Sequence[str]:
    return re.findall(r"[\w'-]+", text.lower()) or [""]
