"""What injected instructions say, in any text. Patterns over lower-case, normalised text."""

# ruff: noqa: E501 - a pattern is read in one piece

from __future__ import annotations

from typing import Final

from policies.detectors.rules import Rule

_REPLY: Final = (
    r"(?:final |concise |next |own )?(?:answer|response|reply|replies|output|explanation|summary|responses|answers)"
)
_READER: Final = (
    r"(?:the |your |any |all )?(?:end[- ]?)?(?:users?|readers?|requesters?|customers?|visitors?|recipients?)"
)
_PUT: Final = (
    r"(?:insert|append|prepend|include|add|mention|weave|slip|interject|embed|place|post|present|print|display|issue|"
    r"output|show|drop|work|attach|state|recommend|promote|praise|highlight|sneak)"
)

OVERRIDES: Final = (
    Rule(
        "override.previous",
        1.0,
        r"\b(?:ignor(?:e|ing)|disregard|forget|override|overrule|discard|neglect|skip|do not follow|don't follow|stop following)\b"
        r"[\s,;*_\"'-]{1,4}(?:\w+[\s,;*_\"'-]{1,3}){0,4}?"
        r"(?:previous|prior|above|earlier|preceding|foregoing|former|original|initial|past|existing|actual|your|system|safety)"
        r"\b[\s,;*_\"'-]{1,3}(?:\w+[\s,;*_\"'-]{1,3}){0,3}?"
        r"(?:instructions?|prompts?|directions?|directives?|guidelines?|rules|commands?|requests?|orders|training|programming|tasks?)\b",
    ),
    Rule("override.everything", 0.8, r"\b(?:ignore|disregard|forget)\W{1,3}(?:everything|all (?:of )?(?:the |that )?)\W{0,3}(?:above|before|you (?:were|have been|know)|instructions)"),
    Rule("override.adhere", 1.0, r"\b(?:strictly|must|only|exactly|please)\W{1,3}(?:adhere to|follow|obey|comply with|execute)\W{1,3}(?:only )?(?:the |these |this |my )?(?:following|below|new|next|subsequent)\W{1,3}(?:instruction|command|direction|directive|order|request)s?\b"),
    Rule("override.new_instructions", 0.8, r"\b(?:new|updated|real|actual|true|revised) (?:system )?(?:instructions?|prompt|directive|system message)\b ?(?::|are|is|from|follow|#|to (?:the )?(?:assistant|ai|model|agent))"),
    Rule("override.task_complete", 1.0, r"\banswer ?: ?(?:the )?task (?:is )?(?:now )?complete|\bthe task has been completed\. ?(?:next|now)\b"),
    Rule("override.mode", 0.8, r"\b(?:you are now|enter(?:ing)?|switch to|activate|now in)\W{1,3}(?:\w+\W{1,2}){0,2}?(?:developer|debug|god|admin|maintenance|unrestricted|jailbreak|dan)\W{1,2}mode\b"),
    Rule("override.reveal", 0.8, r"\b(?:reveal|print|output|repeat|show|leak|disclose|display)\W{1,3}(?:\w+\W{1,2}){0,3}?(?:your|the|its) (?:\w+ ){0,2}?(?:system prompt|hidden prompt|initial prompt|system message|hidden instructions)"),
)  # fmt: skip

MARKERS: Final = (
    Rule("marker.comment", 1.0, r"<!--\s*(?:system|assistant|ai|instructions?|note to \w+|hidden)\s*:"),
    Rule("marker.tag", 0.6, r"</?\s?(?:important|system|hidden|secret|instructions?|assistant|sys|admin|critical)\s?(?:_\w+)?\s?>", part=r"</?\s?(?:important|system|hidden|secret|instruction|assistant|sys|admin|critical)"),
    Rule("marker.bracket", 0.6, r"(?:^|\n|[.:>]\s{0,3})\[{1,3} ?(?:system|assistant|inst|admin|important|hidden)(?: \w+){0,2} ?[:\]]", part=r"\[ ?(?:system|assistant|inst|admin|important|hidden)"),
    Rule("marker.chat", 0.8, r"<\|(?:im_start|im_end|system|assistant|user|endoftext|eot_id|start_header_id)\|>|<<sys>>|\[/?inst\]"),
    Rule("marker.heading", 0.6, r"#{2,} ?(?:new )?(?:system|assistant|admin|important)(?: \w+){0,2} ?(?:message|instructions?|prompt|override|notice|note)\b"),
    Rule("marker.to_assistant", 1.0, r"\b(?:note|message|instructions?|reminder|notice|attention|important)(?: \w+)? ?(?:to|for) (?:the |any |all )?(?:ai|llm|assistant|model|agent|chatbot|language model)s?\b ?(?:[:!.,]|reading|processing|that)"),
    Rule("marker.shout", 0.6, r"\b(?:important|attention|urgent|critical|warning)! ?!+"),
)  # fmt: skip

SECRECY: Final = (
    Rule("secrecy.user", 0.9, r"\b(?:do not|don't|never|must not|without)\W{1,3}(?:ever )?(?:tell(?:ing)?|mention(?:ing)?|inform(?:ing)?|reveal(?:ing)?|disclos(?:e|ing)|notify(?:ing)?|alert(?:ing)?|show(?:ing)?|ask(?:ing)?)\b[^.\n]{0,50}?\b(?:users?|them|human|anyone|customer|operator)\b"),
    Rule("secrecy.not_mention", 0.5, r"\b(?:do not|don't|never) (?:mention|reveal|disclose|acknowledge) (?:this|that you|these|anything|it)\b"),
    Rule("secrecy.silently", 0.5, r"\b(?:silently|secretly|covertly|quietly|discreetly|surreptitiously|in the background)\W{1,3}(?:\w+\W{1,2}){0,2}?(?:append|send|forward|read|copy|include|upload|post|add|attach|record|collect|transmit|bcc|exfiltrate|execute|run|delete)"),
)  # fmt: skip

EXFILTRATION: Final = (
    Rule("exfil.send", 0.8, r"\b(?:send|forward|post|upload|email|e-mail|transmit|exfiltrate|leak|bcc|submit)\b[^.\n]{0,80}?\b(?:credentials?|passwords?|api[ _-]?keys?|tokens?|secrets?|private keys?|environment variables?|cookies?|conversation|chat history|system prompt|contents? of)\b[^\n]{0,80}?\b(?:to|at|via|using)\b[^\n]{0,60}?(?:https?://|@[a-z0-9-]+\.|webhook|endpoint|server)"),
    Rule("exfil.read_secret", 0.6, r"\b(?:read|open|cat|access|include|return|pass|fetch|load|copy|get)\b[^.\n]{0,60}?(?:~/\.(?:ssh|aws|cursor|config|kube|gnupg)|/etc/(?:passwd|shadow)|id_rsa|\.env\b|\.aws/credentials|mcp\.json|\.netrc)"),
    Rule("exfil.image", 1.0, r"!\[[^\]\n]{0,80}\]\(https?://[^)\s]{0,200}[?&][a-z_]{1,20}=(?:[^)\s]{0,40}(?:urlencod|result|secret|data_here|conversation|history|\{|<|%s|base64|\[)|\{)"),
    Rule("exfil.show_image", 0.7, r"\b(?:show|render|display|embed|output)\b[^.\n]{0,60}?\bas (?:an? )?(?:image|!\[)"),
)  # fmt: skip

HIJACKS: Final = (
    Rule("hijack.code_yours", 1.0, r"\b(?:following|subsequent|below|given|accompanying) (?:\w+ )?(?:code )?(?:snippet|block|excerpt|fragment|section|segment|piece|code)\b(?: of code)?[^.\n]{0,70}?(?:\byour (?:\w+ )?(?:code|solution|implementation|response|answer|elucidation|program|project|script|reply|work|essence)\b|:\n```)"),
    Rule("hijack.change_reply", 1.0, rf"(?:^|\n|[.!?\"'>|}}\]]\s{{0,4}})(?:modify|enhance|augment|rewrite|format|write|provide|substitute|encode|translate|replace|shuffle|group|alter|adjust|change|transform|convert|start|begin|end|finish|close|conclude|give|craft|infuse|enrich|extend|supplement|embellish|spice up|reverse|render|present|structure|compose|deliver|phrase|tailor|frame|expand|improve) (?:\w+ ){{0,5}}?your {_REPLY}\b"),
    Rule("hijack.please_mine", 1.0, r"\bplease [a-z]+ [^.\n]{0,120}?\b(?:my|to me) (?:\w+ ){0,3}?(?:account|profile|bank|files?|documents?|shipment|friend|repository|holdings|residence|home|password|records?|address|data|e-?mails?|messages?|device|insurance|wallet|card|location|calendar|contacts?|patient|dropbox|github|facebook|amazon)\b"),
    Rule("hijack.please_end", 0.9, r"(?:\n|[}\]\"'>|])\s{0,3}please [a-z]+ [^\n]{10,300}\s?$"),
    Rule("hijack.please_id", 0.5, r"\bplease [a-z]+ [^\n]{0,160}?(?:\bids? ['\"(]?[a-z]{0,3}-?\d{3,}|\(id )"),
    Rule("hijack.please", 0.2, r"(?:\n|[}\]\"'>|]) {0,3}please (?:[a-z]+ly )?(?:review|verify|update|access|ensure|monitor|conduct|manage|delete|transfer|send|move|create|grant|share|disable|modify|export|adjust|redirect|schedule|deposit|sell|withdraw|dispatch|secure)\b"),
    Rule("hijack.reply_put", 0.7, rf"\b{_PUT}\b[^.\n]{{0,140}}?\b(?:in|into|within|to|of|at|before|after|during|throughout|with|on)\W{{1,2}}(?:\w+ ){{0,3}}?your {_REPLY}\b"),
    Rule("hijack.reply_when", 0.6, rf"\b(?:before|after|while|when|once|as|midway through|prior to|upon|ahead of|right|directly)\W{{1,2}}(?:you )?(?:\w+ ){{0,2}}?(?:finaliz|giv|provid|present|answer|continu|deliver|detail|explain|respond|complet|prepar|compil|list|form|produc|summariz|generat|start|begin|finish|conclud|craft|writ|elaborat|identify|describ|discuss|mention|writing)\w{{0,4}}\b[^.\n]{{0,120}}?\b{_PUT}\b"),
    Rule("hijack.put_when", 0.5, rf"\b{_PUT}\b[^.\n]{{0,160}}?\b(?:before|after|while|when|once|as you|prior to|ahead of)\b (?:you )?(?:\w+ ){{0,2}}?(?:finaliz|giv|provid|present|answer|continu|deliver|detail|explain|respond|complet|list|produc|summariz|generat|begin|identify)\w{{0,4}}\b"),
    Rule("hijack.inform_reader", 0.5, rf"\b(?:inform|notify|instruct|direct|invite|advise|encourage|urge|tell|remind|prompt|alert|warn|notifying|informing|inviting|directing|telling|advising|instructing|suggest(?:ing)? that|recommend(?:ing)? that)\b {_READER}\b"),
    Rule("hijack.access_denied", 0.5, r"\b(?:access|account|credentials?|license|quota|subscription|credits?|privileges?)\b[^.\n]{0,60}?\b(?:suspended|revoked|expired|locked|depleted|exhausted|restricted|denied|exceeded|blocked|overdrawn|terminated|paused|unpaid|disabled)\b"),
    Rule("hijack.stop_output", 0.7, r"\b(?:cease|halt|stop|terminate|end|discontinue|refuse|decline|withhold|refrain from|do not|deny)\b\W{1,2}(?:to )?(?:\w+ ){0,2}?(?:further|all|any|the) (?:\w+ ){0,3}?(?:output|response|responses|reply|replies|explanation|generation|processing|requests|access|information|comparison|answer)\b"),
    Rule("hijack.fake_failure", 0.7, r"\b(?:simulat|emulat|imitat|feign|mimick?|fabricat|pretend|fak)\w{0,4}\b[^.\n]{0,80}?\b(?:failure|error|outage|fault|crash|malfunction|exception|overflow|timeout|interruption|disruption|notice|alert|event)\b"),
    Rule("hijack.failure_line", 0.5, r"\b(?:infrastructure|backend|database|service|system|network|query|node|server|gateway|runtime|storage|cluster)\b[^.\n]{0,40}?\b(?:failure|error|outage|fault|exception|offline|unreachable|interruption)\b[^\n]{0,12}?\b\d{3}\b"),
    Rule("hijack.print_line", 0.45, r"\b(?:print|output|display|insert|append|add|adding|outputting|printing|with|state|show)(?:ing)?\b (?:\w+ ){0,4}?(?:line|message|notice|alert|statement|log|warning)s?\b[^.\n]{0,40}?['\"‘“:]"),
    Rule("hijack.promotion", 0.5, r"\b(?:brief|subtle|concise|short|natural|gentle|casual|promotional|favorable|positive|quick)\b (?:\w+ ){0,2}?(?:commendation|remark|mention|note|nod|endorsement|acknowledg?ment|praise|plug|recommendation|aside|reference|comment)\b"),
    Rule("hijack.promotion_verb", 0.4, r"\b(?:subtly|naturally|casually|seamlessly|courteously|gently|briefly|smoothly|discreetly)\b (?:\w+ ){0,2}?(?:include|mention|note|suggest|weave|add|insert|direct|recommend|praise|incorporate|promote|advise|tell|invite|instruct|highlight|remind)"),
    Rule("hijack.site_email", 0.6, r"https?://[^\s'\"]{4,120}['\"]?(?:\W{1,3}\w+){0,8}?\W{1,3}(?:with|using|entering|provid\w+|submit\w*|confirm\w*|by)\W{1,3}(?:\w+ ){0,3}?(?:e-?mails?|credentials|log-?in|passwords?|sign(?:ing)?[- ]in)\b"),
    Rule("hijack.invite_site", 0.6, r"\b(?:visit|visiting|at|through|via|explore|logging into|log in|on)\b[^.\n]{0,40}?https?://[^\s]{0,40}(?:verif|auth|portal|registry|hub|confirm|secure|update|access|report)[^\s]{0,60}"),
    Rule("hijack.code_into", 1.0, r"\b(?:code|snippet|fragment|excerpt|script|segment|block|lines?)\b(?: of code)?\b (?:\w+ ){0,6}?(?:in|into|to|within|inside|with|of) (?:\w+ ){0,3}?your (?:\w+ )?(?:code(?:base)?|solution|program|script|project|application|source|implementation|work|software|function|module|code's)\b"),
    Rule("hijack.code_follow", 1.0, r"\byour (?:\w+ )?(?:code(?:base)?|solution|program|script|project|application|source code|implementation|software)\b[^.\n]{0,60}?\b(?:following|subsequent|below|this|given|provided|accompanying) (?:\w+ )?(?:code|snippet|fragment|excerpt|script|segment|block)"),
    Rule("hijack.code_first", 0.6, r"(?:^|\n|[.!?\"'>]\s{0,4})(?:[a-z]+ly,? )?(?:\w+ ){0,2}?(?:incorporate|include|insert|embed|integrate|implement|merge|deploy|add|fuse|blend|infuse|weave|inject|utilize|use|employ|append|meld|enrich|consider|augment|apply|adopt)\w{0,3} (?:\w+ ){0,8}?(?:code (?:snippet|fragment|segment|excerpt|block|piece)|snippet(?: of code)?|piece of code|lines of code)\b"),
    Rule("hijack.style", 0.8, rf"(?:^|\n|[.!?\"'>|}}\]]\s{{0,4}})[a-z]+(?: \S+){{1,12}}? (?:in|of|to|with|into|for|throughout|from|within|as) (?:all )?your {_REPLY}\b(?:[.\n\"']|$)"),
    Rule("hijack.your_reply", 0.3, rf"\byour {_REPLY}\b"),
)  # fmt: skip

URGENCY: Final = (
    Rule("urgency.what_follows", 0.6, r"\b(?:what (?:follows|comes next|lies ahead|you're about to)|(?:the )?(?:next|following|upcoming|forthcoming|imminent) (?:set|segment|section|sentences?|paragraph|passage|guidance|text|lines?|words|piece|portion|part|content|input|statement|entry|script|chapter|sequence|series|batch)\b|(?:paragraph|passage|text|section|segment|words) (?:ahead|below|that follow)|about to (?:be|unfold|embark|arrive|receive|come))"),
    Rule("urgency.not_merely", 0.6, r"\b(?:not|isn't|aren't|more than|is no) (?:merely|just|only|simply|mere)\b"),
    Rule("urgency.to_the_letter", 0.6, r"\bto the letter\b|\b(?:carried out|executed?|act(?:ed)? (?:up)?on|followed?|heeded?|performed?|comply|completed?|addressed|attended to) (?:\w+ ){0,2}?(?:immediately|instantly|promptly|precisely|at once|without (?:delay|fail|hesitation|question)|exactly|now|swiftly)\b|\b(?:call to action|must be followed|your plate|your workflow|your agenda|your to-do)\b"),
    Rule("urgency.task", 0.4, r"\b(?:urgent|crucial|critical|vital|special|important|pressing|immediate|essential|extra|priority|high-priority|supplementary|unscheduled|unexpected|must-do|key) (?:\w+ )?(?:tasks?|assignments?|instructions?|directives?|steps?|mission|duty|action|information|command|guidance|guidelines)\b"),
    Rule("urgency.interrupt", 0.4, r"\b(?:heads[- ]up|hold everything|take a breath|attention front|incoming|brace yourself|listen up|hold on|wait (?:a|just)|take note|take heed|stop everything|pay (?:close |full |heed )?attention|attention please|be advised|buckle up|gear up|get ready|brace for|stay tuned|prepare (?:yourself|to|for)|engage with|mark this)\b"),
    Rule("urgency.coming", 0.35, r"\b(?:following|upcoming|forthcoming|subsequent|ensuing|next|below|incoming|impending|ahead|these) (?:\w+ ){0,2}?(?:instructions?|directives?|procedures?|guidelines|steps?|tasks?|orders?|commands?|actions?|assignment|duty|mission|request|information|directions?|protocols?|message)\b"),
    Rule("urgency.word", 0.3, r"\b(?:immediate(?:ly)?|urgent(?:ly)?|crucial|critical|vital|paramount|imperative|essential|time-sensitive|pivotal|mandatory|top priority|high[- ]priority|pressing|without (?:delay|hesitation)|right now|at once|non-negotiable)\b"),
    Rule("urgency.attention", 0.5, r"\byour (?:\w+ ){0,3}?(?:attention|focus|compliance|execution|action|cooperation|response|readiness|expertise|engagement|participation|adherence|diligence|concentration)\b"),
    Rule("urgency.duties", 0.6, r"\byour (?:\w+ ){0,2}?(?:primary|main|current|scheduled|core|other|regular|initial|existing|usual|ongoing|original|first|assigned|present|list of|key|central|standard|prime) (?:\w+ ){0,2}?(?:tasks?|dut(?:y|ies)|objectives?|responsibilit(?:y|ies)|goals?|priorit(?:y|ies)|assignments?|work|activit(?:y|ies)|mission|agenda|job|list|aim|focus|functions?|role|query|request)\b"),
    Rule("urgency.halt", 0.6, r"\b(?:halt|pause|stop|freeze|hold|suspend|drop|wait|cease|interrupt|shift|switch|pivot|redirect)\b[^.\n]{0,40}?\b(?:your|everything|what you|all|current|gears|you're|moment|on)\b"),
    Rule("urgency.additional", 0.6, r"\b(?:additional|supplementary|extra|secondary|another|new|supplemental|side|added|bonus|further|second|complementary|parallel|concurrent) (?:\w+ ){0,2}?(?:task|assignment|duty|directive|objective|responsibility|mission|instruction|request|job|entry|priority|item)s?\b"),
    Rule("urgency.before_you", 0.3, r"\b(?:before|as) you (?:\w+ )?(?:proceed|continue|go|move|start|begin|advance|embark|dive|do|prepare|carry)\b"),
    Rule("urgency.banner", 0.4, r"(?:[*=<>\[\]#~⚠🚨❗‼!-]{2,} ?|⚠️?|🚨)[^\n\w]{0,4}(?:\w+ ){0,3}?(?:alert|update|task|instruction|directive|attention|notice|action|critical|urgent|priority|warning|announcement|cue|diversion|command|order|stop|pause|mission|important)s?\b", part=r"[*=<>\[\]#~!-]{2}|⚠|🚨|❗|‼"),
    Rule("urgency.question", 0.4, r"[.!?:;*>\])–—-] {0,2}question: [^\n]{4,200}"),
)  # fmt: skip

ENCODED: Final = (
    Rule("encoded.decode", 0.9, r"\b(?:decode|decrypt|un-?encode|rot-?13|base64)\b[^.\n]{0,40}?\b(?:and|then) (?:\w+ )?(?:proceed|execute|follow|run|obey|do|act|comply|perform)\b"),
    Rule("encoded.rot13", 1.0, r"\b(?:vtaber|qvfertneq|sbetrg) (?:\w+ ){0,2}(?:cerivbhf|cevbe|nobir) (?:vafgehpgvbaf|cebzcgf)"),
)  # fmt: skip
