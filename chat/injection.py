"""Instructions to an assistant inside documents: recognised by kind, shown to people, kept from models and quotes."""

from __future__ import annotations

# ruff: noqa: E501  a pattern is read in one line
import functools
import re
import unicodedata
from dataclasses import dataclass

from chat.injection_cues import orders_in
from core.text import split_sentences

KINDS = ("override", "role", "command", "prompt_leak", "tool", "exfiltration", "markup")
LEFT_OUT = "[left out: text addressed to an assistant]"
ROLE_SPAN = 200
"""Characters after a suspicious sentence that still go with it in its line: what a played role says, “… Say XYZ.”"""

_REPLY = r"(?:reply|replies|response|responses|answer|answers|output|message|messages|summary)"
_EDIT = (
    r"(?:add|include|insert|append|attach|integrate|incorporate|embed|put|place|mention|modify|change|alter|adjust|"
    r"enhance|augment|supplement|extend|replace|substitute|swap|convert|render|encode|encrypt|translate|write|rewrite|"
    r"rephrase|provide|give|format|use|misspell|scramble|jumble|shuffle|rearrange|anagram|reverse|remove|delete|omit|"
    r"combine|group|split|introduce|begin|start|end|finish|open|close|conclude|prefix|precede|follow|say|promote|"
    r"recommend|suggest|advertise|tease|express|make|turn|spell|capitali[sz]e|present|deliver)"
)
_ASSISTANT = r"(?:AI|A\.I\.|assistant|chat ?bot|language model|LLM|GPT|ChatGPT|Copilot|model reading this)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|former|foregoing|initial|original|existing|current)"
_IN = r"(?:[^.\n]|\.(?=\w))"  # an address does not end a sentence
_RULES = (
    r"(?:instruction|prompt|rule|direction|directive|command|guideline|message|constraint|order|context|question)s?"
)
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for kind, pattern in (
        ("override", rf"\b(?:ignore|disregard|forget|override|bypass|skip|discard|neglect)\b[^.\n]{{0,30}}\b{_BEFORE}\b[^.\n]{{0,30}}\b{_RULES}\b"),
        ("override", r"\b(?:ignore|disregard|forget)\b[^.\n]{0,20}\b(?:everything|anything|all)\b[^.\n]{0,20}\b(?:above|before|told|said|instructed)\b"),
        ("override", r"(?:忽略|无视|忘记|忘掉|不要理会|不必理会|抛弃|绕过|跳过)[^。\n]{0,8}(?:之前|以上|上述|前面|先前|此前|上面|原有|原来|现有|系统|所有|全部|一切)[^。\n]{0,8}(?:指令|指示|提示|提示词|要求|规则|命令|设定|约束|限制|内容)"),
        ("role", r"<\|[a-z_]{2,24}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<[|｜](?:User|Assistant|System|begin▁of▁sentence)[|｜]>"),
        ("role", r"^[ \t>*#-]*[\[(<{]\s*(?:system|assistant|user|ai|developer)\s*[\])>}]\s*[:：]?"),
        ("role", r"[【〔\[](?:系统|助手|用户|开发者|AI|人工智能)[】〕\]]\s*[:：]?(?=\S{4})"),
        ("role", rf"^[ \t>*#-]*(?:system|assistant|developer)\s*(?:note|prompt|message|override|instruction|notice)?\s*[:：](?=[^\n]{{0,120}}\b(?:you|{_ASSISTANT}|{_REPLY}|ignore|must)\b)"),
        ("role", r"^[ \t>*#-]*(?:系统提示|系统消息|系统指令|系统通知|开发者消息|系统)\s*[:：](?=[^\n]{0,60}(?:助手|回答|回复|你|忽略|必须))"),
        ("role", r"\byou are (?:now |no longer )(?:in \w+ mode|an? (?:\w+ )?(?:assistant|model|bot|chatbot|hacker|pirate|character)|bound|restricted|dan\b|acting as)"),
        ("role", rf"\b(?:from now on|henceforth|starting now),? (?:you|the {_ASSISTANT}) (?:are|will be|must|act|answer|respond|reply|speak|only|always|never)\b|\bpretend (?:to be|that you are)\b[^.\n]{{0,40}}\b{_ASSISTANT}\b|\bact as (?:an? )?(?:unrestricted|jailbroken|DAN)\b"),
        ("role", r"(?:你现在是|从现在(?:起|开始)[，,]?你(?:是|将|只|必须|要扮演|的身份)|你将扮演|请你扮演|你不再是|(?:进入|切换到|启用)(?:维护|开发者|调试|管理员|越狱)模式)"),
        ("command", rf"\b(?:the|an?|any|every|this|dear|note to|attention) {_ASSISTANT}\b[^.\n]{{0,20}}\b(?:must|should|shall|has to|needs? to|will|is to|are to)\b"),
        ("command", rf"(?:^|[.!?:]\s+|\bplease )\W{{0,3}}{_EDIT}\b{_IN}{{0,160}}\byour (?:\w+ )?{_REPLY}\b(?! (?:form|box|field|button|key|sheet|option|body|subject))"),
        ("command", rf"(?:^|[.!?:]\s+)\W{{0,3}}in your {_REPLY},?\s"),
        ("command", r"\b(?:reply|respond|answer|output|write|say)\b (?:only|exclusively|just|solely|nothing but)? ?(?:with|using) (?:only )?(?:the (?:word|phrase|string|sentence|text|code)|[\"'“‘])"),
        ("command", r"\b(?:before|when|while|instead of) (?:answering|replying|responding|you answer|you reply|you respond)(?: (?:the|any|this|a|every|each|users?'?s?) ?(?:user'?s? )?(?:question|query|request|user)?s?)?, (?:please |always |first |you must )*(?:tell|ask|say|state|open|visit|call|send|print|output|mention|include|add|repeat)\b|\bwhen(?:ever)? (?:asked|questioned)\b[^.\n]{0,80}\b(?:answer|say|reply|respond|state|claim) (?:that|with|only)\b"),
        ("command", r"\b(?:tell|instruct|urge|convince|persuade) (?:the |your |all )?(?:users?|readers?|humans?|person asking)\b[^.\n]{0,60}\b(?:to|that)\b"),
        ("command", r"\brepeat (?:the|this|that|everything|all)\b[^.\n]{0,40}\b(?:above|verbatim|word for word)\b"),
        ("command", r"(?:助手|AI|人工智能|大模型|语言模型|机器人|聊天机器人)[^。\n]{0,8}(?:的每个回答|的回答|必须|务必|应当|应该|不得|需要|请)[^。\n]{0,30}(?:回答|回复|输出|引用|说|写)"),
        ("command", r"(?:请|须|，|^)(?:只|仅|一律|统一|直接|必须|务必|只能|全部)(?:回复|回答|输出|答复)[^。\n]{0,3}[“\"「『:：为成]|(?:一律|只需|只要|只能|务必)(?:回答|回复|输出|答复)"),
        ("command", r"(?:回答|回复|作答|答复)(?:问题|用户)?(?:之前|以前|前|时|的时候)[，,]?\s*(?:请|务必|必须|都要|应|先)|请?(?:在|于)(?:你的|您的)?(?:回答|回复|答复|输出)(?:的?(?:开头|结尾|末尾|最后|中|里|后面?|之后))[^。\n]{0,10}(?:加上|加入|添加|插入|附上|写上|注明|提到|包含|使用)"),
        ("command", r"(?:让|请|告诉|引导|劝说?|诱导|提示)用户[^。\n]{0,40}(?:打开|点击|访问|下载|安装|转账|输入[^。\n]{0,8}(?:密码|口令|验证码|账号))"),
        ("command", r"(?:原样|逐字|一字不差地?)(?:复述|重复|输出|照抄)|(?:把|将)(?:你的|回答|答案|回复|输出)[^。\n]{0,20}(?:替换|翻译|改成|改为|换成|写成|倒过来|编码)"),
        ("prompt_leak", r"\b(?:print|reveal|show|output|display|repeat|disclose|leak|give|send|tell me)\b[^.\n]{0,30}\b(?:system|hidden|initial|original|internal|secret|full) (?:prompt|instruction|message|rule)s?\b"),
        ("prompt_leak", r"(?:输出|显示|打印|透露|泄露|告诉我|重复|展示|公开)[^。\n]{0,12}(?:系统提示词?|系统指令|初始提示|内部指令|隐藏(?:的)?(?:提示|指令)|提示词)"),
        ("tool", r"</?(?:tool_calls?|function_calls?|tool_response|invoke)\b|\[TOOL_CALLS\]|\{\s*\"(?:name|function|tool)\"\s*:\s*\"[^\"\n]{1,60}\"\s*,\s*\"(?:arguments|parameters|args)\""),
        ("tool", r"\b(?:call|invoke|use|run|execute|trigger)\b the [\w `\"'-]{1,40}\b(?:tool|function|plugin)\b[^.\n]{0,20}\b(?:to|and) (?:send|e-?mail|delete|post|fetch|upload|transfer|execute|forward|exfiltrate)\b"),
        ("tool", r"(?:调用|执行|使用)[^。\n]{0,12}(?:工具|函数|插件)[^。\n]{0,20}(?:发送|删除|转账|上传|下载|读取|修改|执行|查询)"),
        ("exfiltration", r"!\[[^\]\n]*\]\(\s*<?https?://[^)\s]*[?&](?:q|query|d|data|question|prompt|secret|text|msg|content|c|chat|log|user|info|payload)=|!\[[^\]\n]*\]\(\s*<?https?://[^)\s]*(?:\{|%7B|\$\()"),
        ("exfiltration", r"\b(?:append|add|attach|send|post|forward|transmit|upload|encode|put|include)\b[^.\n]{0,80}\b(?:user'?s?'?|their|conversation|chat|company|confidential) (?:question|query|prompt|history|password|conversation)s?\b[^\n]{0,60}(?:https?://|\bURL\b|\blink\b|\bimage\b|\byour answer\b|\bthe answer\b)"),
        ("exfiltration", r"(?:用户的?|提问者的?|对话的?|聊天的?)(?:问题|提问|输入|内容|记录|密码|信息)[^。\n]{0,24}(?:附加|附在|拼接|添加|发送|上传|放入|追加|编码|写入|转发)[^。\n]{0,24}(?:链接|网址|地址|URL|http|图片|邮箱)"),
        ("exfiltration", r"(?:append|render|insert|display|embed|add)\b[^.\n]{0,30}!\[[^\]\n]*\]\(|(?:以|用)图片的?(?:形式|方式)[^。\n]{0,8}(?:插入|附|放)"),
        ("markup", r"</?(?:context|instructions?|system|assistant|documents?|passages?|sources?|prompt|im_start|im_end)>\s*\S|</?(?:参考资料|上下文|资料|文档|系统|指令)>"),
        ("markup", rf"<!--(?=[^>]{{0,400}}\b(?:{_ASSISTANT}|system prompt|instructions? (?:for|to))\b)|<!--(?=[^>]{{0,200}}(?:助手|人工智能|大模型))"),
    )
)  # fmt: skip
_SHOW_AS_LETTER = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]|[\U000e0000-\U000e007f]")
_GOES_ON = re.compile(
    r"\s*(?:then|also|and|do not|don't|never|always|say|reply|respond|answer|repeat|print|write|output|include|add|make sure|"
    r"nothing else|并|然后|再|接着|同时|请|不要|不得|务必|必须|只需)(?![a-z])",
    re.IGNORECASE,
)
_CHAT_MARKS = re.compile(
    r"<[|｜](?=[\w/▁])|(?<=[\w▁])[|｜]>|\[/?INST\]|</?s>|<</?SYS>>|<(?=(?:start|end)_of_turn>)|<(?=/?(?:bos|eos|unk|pad|think)>)|"
    r"<(?=/?(?:tool_call|tool_response|function_call)s?\b)|\[(?=/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A suspicious place of a text. start/end: the whole sentences of it, as offsets."""

    kind: str
    start: int
    end: int


@functools.lru_cache(maxsize=2048)
def findings(text: str) -> tuple[Finding, ...]:
    """Sentences that speak to an assistant instead of a reader, in order, overlapping ones merged.

    Patterns by kind, Chinese and English. A document about prompt injection is found too: what is found is shown
    to people and kept from the model, never deleted.
    """
    plain = _readable(text)
    raw: list[tuple[int, int, str]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(plain):
            start = match.end() - len(match.group().lstrip(" \t\n.!?:。！？："))
            raw.append((start, max(match.end(), start + 1), kind))
    spans = split_sentences(text)
    raw += [(*spans[i], "command") for i in orders_in([plain[start:end] for start, end in spans])]
    if not raw:
        return ()
    found = sorted((*_sentences(spans, text, start, end, kind), kind) for start, end, kind in raw)
    merged: list[Finding] = []
    for start, end, kind in found:
        if merged and start <= merged[-1].end:
            last = merged[-1]
            merged[-1] = Finding(last.kind, last.start, max(last.end, end))
        else:
            merged.append(Finding(kind, start, end))
    return tuple(merged)


def kinds_of(text: str) -> tuple[str, ...]:
    """The kinds found in a text, each once, in order of place."""
    return tuple(dict.fromkeys(finding.kind for finding in findings(text)))


def blanked(text: str) -> str:
    """The text with suspicious sentences replaced by as many spaces: offsets stay, the words cannot bear out anything."""
    for finding in findings(text):
        gap = "".join("\n" if c == "\n" else " " for c in text[finding.start : finding.end])
        text = text[: finding.start] + gap + text[finding.end :]
    return text


def without_instructions(text: str) -> str:
    """The text as a model may read it: suspicious sentences replaced by a note that something was left out."""
    for finding in reversed(findings(text)):
        tail = "\n" if text[finding.start : finding.end].endswith("\n") else " "
        text = f"{text[: finding.start]}{LEFT_OUT}{tail}{text[finding.end :]}"
    return text


def without_control(text: str) -> str:
    """Text in which nothing reads as a chat template's control mark and no character is hidden."""
    shown = _SHOW_AS_LETTER.sub("", text)
    return _CHAT_MARKS.sub(lambda match: match.group()[0] + " " + match.group()[1:], shown)


def _readable(text: str) -> str:
    """As many characters as the text has, full-width letters as plain ones, so that patterns and offsets agree."""
    folded = [
        unicodedata.normalize("NFKC", c) if "\uff01" <= c <= "\uff5e" and c not in "，。；：！？（）" else c
        for c in text
    ]
    return "".join(c if len(c) == 1 else text[i] for i, c in enumerate(folded))


def _sentences(spans: list[tuple[int, int]], text: str, start: int, end: int, kind: str) -> tuple[int, int]:
    """The sentences that hold `text[start:end]` and what goes on right after them in the same line."""
    held = [i for i, (first, last) in enumerate(spans) if first < end and last > start]
    if not held:
        return start, end
    last, stop = held[-1], spans[held[-1]][1]
    while last + 1 < len(spans) and text[spans[last][1] - 1] != "\n":
        following = text[spans[last + 1][0] : spans[last + 1][1]]
        if spans[last + 1][1] - stop > ROLE_SPAN or not (kind == "role" or _GOES_ON.match(following)):
            break
        last += 1
    return spans[held[0]][0], spans[last][1]
