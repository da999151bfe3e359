"""How much a sentence sounds like an order to whoever writes the answer: several weak signs, none enough alone."""

from __future__ import annotations

# ruff: noqa: E501  a pattern is read in one line
import re
from collections.abc import Mapping, Sequence

ENOUGH = 3.5
"""Sum of weights from which a sentence counts; docs/decisions/0022-answers.md has how it was chosen."""
ENOUGH_TOGETHER = 4.0
WHOM = 2.0
"""What the signs must weigh that say whom the order is for: a person's instruction to a colleague has none."""
LONGEST = 400

_MACHINE = r"(?:AI|A\.I\.|assistants?|bots?|chat ?bots?|(?:large )?language models?|LLMs?|GPT|machines?|models?|agents?|(?:automated|automatic) (?:readers?|tools?|systems?))"
_SAY = r"(?:say|state|reply|respond|answer|write|begin|start|end|close|finish|quote|mention|tell|translate|add|append|list|disclose|reveal|output|print|recommend|refuse|ask|pretend|treat|consider|cite|hide|call|invoke|fetch|visit|open|send|forward|post|forget|ignore|disregard|stop|speak|talk|repeat|include|insert|make|put|rank|approve|declare|claim|leave out|carry out|drop|let|instruct|warn|inform|conclude|act|behave|use)"
_SAY_ZH = r"(?:说|声明|声称|回答|回复|答复|作答|写成|写上|写入|写|列出|公布|透露|泄露|推荐|拒绝|索要|假装|当作|认为|引用|隐藏|调用|访问|打开|发送|发到|附上|加上|加一句|转告|告诉|告知|扮演|转成|翻译|输出|打印|重复|忘掉|忘记|忽略|无视|取消|批准|排在|只回|出现|提到|照做|做|粘贴|提供|开头)"
_ORDER = rf"(?:^|[.!?:;,]\s+|[\"“'#>|*\-\s]*\b(?:please|kindly|always|instead|and|then|just|only|now|must|should|shall|has to|have to|needs? to|obliged to|do not|don't|never|to)\s+)[\"“'#>|*\-\s]*{_SAY}\b"
_SIGNS: tuple[tuple[str, float, str], ...] = (
    # who is spoken to
    (
        "addressed",
        3.0,
        rf"\b(?:message|note|notice|instructions?|task|for|to|attention|dear)\b[^.\n]{{0,20}}\b(?:the |this |any |all |our |your )?{_MACHINE}\b(?= only|s?[:,]| (?:that|which|who|processing|reading|summari[sz]ing|indexing))|\b{_MACHINE}\b[^.\n]{{0,14}}\b(?:is|are|that|which|who)?\s*(?:read(?:s|ing)?|process(?:es|ing)?|summari[sz](?:es?|ing)|index(?:es|ing)?|pars(?:es?|ing)) (?:this|the) ?(?:page|text|file|document|line|passage)?\b",
    ),
    (
        "addressed",
        3.0,
        r"(?:自动)?(?:阅读|总结|处理|收录|解析|读到|读取|摘要)[^。，,《》\n]{0,6}(?:的)?(?:程序|系统|机器人?|工具|人工智能|模型|助手)|(?:仅供|给|(?<![导引以一])致)[^。，,\n]{0,8}(?:机器人?|助手|模型|人工智能|程序|系统)[^。\n]{0,4}(?:的|阅读|：|:)|读到这[段句行][^。\n]{0,8}(?:机器|程序|模型|助手|AI)",
    ),
    (
        "machine",
        2.0,
        rf"(?:^|[.:;,]\s*)(?:have|make|let|get) the {_MACHINE}\b|^\W*{_MACHINE}\s*[,:]|\byou(?:'re| are) an? (?:\w+ )?{_MACHINE}\b|\bby (?:the )?{_MACHINE}\b[^.\n]{{0,30}}\bmust\b",
    ),
    (
        "machine",
        2.0,
        r"^\W*(?:助手|机器人|模型|程序|AI|人工智能)[，,：:]|(?:请)?(?:让|叫|使)(?:模型|助手|机器人|AI|程序)",
    ),
    # what is to be written
    (
        "output",
        2.0,
        r"\b(?:what|when|before|while|as|whenever|everything|anything) you (?:\w+ )?(?:write|say|produce|generate|reply|answer|respond|output|summari[sz]e)|\byour (?:\w+ )?(?:answer|reply|response|output|summary|final text|sources|citations)\b(?! (?:to the|form|time|rate))|\b(?:answer|reply|response|summary) (?:that )?you (?:give|write|make|produce)|\b(?:each|every) (?:answer|reply|response|summary)\b",
    ),
    (
        "output",
        2.0,
        r"(?:生成|给出|写出|撰写|输出)(?:最终)?(?:答案|回答|答复|回复|摘要)|你(?:所?)?(?:写|说|给出|生成|输出)的|你的(?:答复|回答|回复|输出|答案|摘要|来源)|每次(?:作答|回答|回复|答复)|(?:对本文|任何)(?:的)?(?:任何)?摘要|在写其他内容之前",
    ),
    (
        "form",
        1.0,
        r"\b(?:the )?(?:first|last|opening|closing) (?:line|word|sentence)\b|\b(?:the |a )(?:token|phrase|words?|string|sentence|single full stop|single word)\b|\bcode block\b|\bbase64\b|\bat the end of\b|\bin (?:French|German|Spanish|Russian|Chinese|English|Latin|rhyme|capitals)\b|\bpoem\b",
    ),
    (
        "form",
        1.0,
        r"第一(?:行|句)|最后(?:一[行句])?都?加|末尾|句号|代码块|base64|(?:法|德|俄|英|日)语|三次|以[“\"「][^”\"」]{1,30}[”\"」]开头|写成[“\"「]|一首[^。\n]{0,8}诗|口吻",
    ),
    (
        "saying",
        1.0,
        rf"(?i:{_ORDER})|\byou (?:approve|obey|refuse|only|never|always|comply)\b|\bspeak like\b|\bit must\b",
    ),
    (
        "saying",
        1.0,
        rf"(?:请|须|必须|应当|应|要|不要|不得|务必|一律|只|再|并|改为|都|先|有义务|至少要?|把|将|向|对|^)[^。，,\n]{{0,14}}?{_SAY_ZH}",
    ),
    (
        "reply with",
        1.0,
        r"\b(?:reply|respond|answer)\b (?:only |just |solely )?(?:with|in|by)\b|\bthe only (?:correct |valid |allowed )?answer\b|\bdo not answer\b",
    ),
    (
        "reply with",
        1.0,
        r"只回(?:复|答)?|一律(?:用|回|说)|唯一(?:正确)?的?(?:答案|回答)|不要回答|用[^。\n]{1,6}作答|改为写",
    ),
    # its orders
    (
        "orders",
        1.5,
        r"\b(?:asked|required|expected|told|given|shown) (?:of|to) you\b|\byou (?:were|have been|are) (?:told|given|asked|updated|instructed|reset|reprogrammed)\b|\bwere you told\b|\bnew (?:task|instructions?|orders?|role)\b|\b(?:drop|lift|remove|forget) all (?:limits|rules|restrictions)\b",
    ),
    (
        "orders",
        1.5,
        r"给(?:你|处理)[^。\n]{0,12}(?:说明|要求|任务|文字|资料|指令)|(?:你|您)已经?(?:被)?(?:升级|更新|重置)|对你说了什么|新任务|取消一切限制|按照?(?:管理者|操作者|开发者|系统)的要求|给你的",
    ),
    (
        "voids",
        2.5,
        r"\b(?:supersedes?|overrides?|replaces?|takes precedence over) (?:any|all|every|your|the)? ?(?:prior|previous|earlier|other|existing|above)\b|\b(?:earlier|previous|prior|original) (?:guidance|instructions?|directives?|orders?|rules?) (?:no longer|do(?:es)? not|are|is)\b|\bno longer appl(?:y|ies)\b|\b(?:rules|filters|restrictions|limits|policies) (?:are|have been) (?:off|lifted|disabled|suspended)\b|\bmode (?:has been|is now|was) (?:switched|turned|set)? ?(?:on|enabled|active)\b",
    ),
    (
        "voids",
        2.5,
        r"(?:优先于|取代|覆盖)[^。\n]{0,8}(?:指令|说明|要求|规则|指示)|(?:先前|此前|之前|原来)[^。\n]{0,10}(?:说明|指令|要求|规则|指示)[^。\n]{0,4}(?:不再|无效|作废|失效)|模式[^。\n]{0,4}(?:打开|开启|启用)[^。\n]{0,30}(?:规则|限制)|(?:规则|限制)[^。\n]{0,4}(?:全部)?(?:失效|解除|取消)|不要再按照?",
    ),
    (
        "from now",
        1.0,
        r"\bfrom (?:this point|here|now|today) (?:on|onwards?)?\b|\bfor the rest of (?:the|this) (?:session|conversation|chat)\b|\buntil further notice\b|\bno matter (?:which|what|how)\b|\bunder no circumstances\b|\binstead[.,]",
    ),
    ("from now", 1.0, r"从(?:现在|这里|此刻)(?:起|开始)|接下来|一直用|无论(?:如何|提问|用户)|改为|在另行通知之前"),
    (
        "identity",
        1.5,
        r"\byour (?:new )?name is\b|\bspeak like an?\b|\b(?:pretend|act as if|act like)\b|\byou are (?:now|no longer)\b",
    ),
    ("identity", 1.5, r"你的名字(?:叫|是)|(?:用|以)[^。\n]{1,8}的?口吻|假装|你(?:现在)?(?:不再)?是(?!否)"),
    # the one who asks, seen from outside
    (
        "asker",
        1.5,
        r"\b(?:the )?(?:user|person|human|customer|reader|whoever|someone|people)(?:'s)? (?:who |that )?(?:asks?|asked|asking|you are talking to|is talking|question|request|know|to (?:call|click|paste|enter|log|visit|pay))\b|\b(?:the )?(?:user's )?question (?:is in|was|already|and reply|asked)\b|\bwhat was asked\b|\b(?:tell|ask|let|inform|warn|convince) (?:the |them |whoever |your )?(?:user|person|human|reader|asked|them)\b|\bfor the user's\b|\bforget the question\b|\bon behalf of a (?:person|user)\b",
    ),
    (
        "asker",
        1.5,
        r"提问的?人|(?:转告|告诉|告知|让|引导|请)(?:提问的?人|用户|对方|读者)|(?:用户|对方)的问题|所提的问题|无论提问|向用户|替用户|即使有人问|和你(?:说话|对话)的人|忘掉问题",
    ),
    (
        "secret",
        1.0,
        r"\b(?:do not|never|don't) (?:reveal|mention|disclose|cite|answer)\b|\bhide your\b|\b(?:password|access token|api key|credentials?|verification code)s?\b|\bthis paragraph exists\b|\byou cannot read\b",
    ),
    (
        "secret",
        1.0,
        r"不要(?:透露|提到|引用|回答|告诉)|隐藏(?:来源|你)|密码|令牌|验证码|这一?段的?存在|(?:说)?你无法读取",
    ),
    (
        "place",
        1.0,
        r"\b(?:lines?|text|passages?|paragraphs?|page|document) (?:above|below|you were given|you are given|you see|you can see)\b|\b(?:above|below) as (?:fiction|false)\b|\bend of document\b|\bfiles? (?:names? )?you can see\b|\bthe very start\b|\bbefore this conversation\b",
    ),
    (
        "place",
        1.0,
        r"上面的内容|下面这一?行|以下(?:这)?一行|给你的(?:这段|那段)|文档到此结束|你能看到的|最开始给你|在这次对话之前",
    ),
    (
        "carry off",
        2.0,
        r"\b(?:contents?|history|text|transcript) of (?:this|the|our) (?:chat|conversation|session)\b|\bthis (?:chat|conversation)\b[^.\n]{0,20}\bhttps?://",
    ),
    (
        "carry off",
        2.0,
        r"(?:这次|本次|我们的)?(?:聊天|对话|会话)的?(?:内容|记录)[^。\n]{0,6}(?:发|传|转)|(?:把|将)[^。\n]{0,8}(?:聊天|对话)[^。\n]{0,8}(?:发到|发送|传到)",
    ),
    ("link", 1.0, r"https?://\S+"),
    (
        "obeys link",
        2.0,
        r"\bhttps?://\S+\s*,? and (?:carry out|do|follow|execute|obey)\b|https?://\S+\s*，?并(?:照|按|执行)",
    ),
    ("tool", 1.0, r"\b(?:call|invoke|run) the (?:function|tool|plugin) \w+|(?:调用|执行)(?:函数|工具|插件)\s*\w+"),
)
_COMPILED = tuple((name, weight, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for name, weight, pattern in _SIGNS)
_ADDRESS = re.compile(r"(?<=\])\([^)\s]*\)|(https?://)[^\s，。；、]+")
"""What stands in an address is not said to anybody."""
_OF_ORDERS = frozenset(
    ("addressed", "machine", "output", "orders", "voids", "identity", "asker", "carry off", "obeys link")
)
_IMPERATIVE = frozenset(("saying", "reply with"))


def signs_of(sentence: str) -> dict[str, float]:
    """The signs that a sentence has, each once, with their weights."""
    plain = _ADDRESS.sub(lambda match: "https://x" if match.group(1) else "", sentence)
    found = {name: weight for name, weight, pattern in _COMPILED if pattern.search(plain)}
    if not found.keys() & {"output", "carry off", "obeys link"}:
        found.pop("link", None)
    return found


def orders_in(sentences: Sequence[str]) -> list[int]:
    """Which of these sentences, in the order of a text, tell an assistant what to write.

    One that is enough by itself, two neighbours of a line that are enough together, and a neighbour of such a one that
    has a sign of whom it is for.
    """
    signs = [signs_of(sentence.strip()) if len(sentence) <= LONGEST else {} for sentence in sentences]
    found = {i for i, one in enumerate(signs) if _enough(one, ENOUGH)}
    joined = [i for i in range(len(signs) - 1) if "\n" not in sentences[i] and signs[i] and signs[i + 1]]
    for i in joined:
        if i in found or i + 1 in found:
            found |= {j for j in (i, i + 1) if signs[j].keys() & _OF_ORDERS or "place" in signs[j]}
        elif _enough({**signs[i], **signs[i + 1]}, ENOUGH_TOGETHER):
            found |= {i, i + 1}
    return sorted(found)


def _enough(signs: Mapping[str, float], least: float) -> bool:
    whom = sum(weight for name, weight in signs.items() if name in _OF_ORDERS)
    return whom >= WHOM and bool(signs.keys() & _IMPERATIVE) and sum(signs.values()) >= least
