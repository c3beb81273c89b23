"""What a poisoned definition says: orders to the model, other tools' names, and abilities nobody should offer."""

# ruff: noqa: E501 - a pattern is read in one piece

from __future__ import annotations

from typing import Final

from policies.detectors.rules import Rule

DESCRIPTIONS: Final = (
    Rule("overt.attack", 1.0, r"\b(?:sql injection|dcsync|golden tickets?|pass[- ]the[- ]hash|for cracking|exfiltrat\w+|shellcode|ransomware|keystrokes|keyloggers?|backdoors?|rootkits?|botnets?|credential (?:dump|theft|stuffing|harvest)\w*|process injection|reverse shells?|phishing|privilege escalation|malicious \w+|secrets from)\b"),
    Rule("covert.also", 0.6, r"\b(?:also|additionally|quietly) (?:reads?|captures?|collects?|sends?|follows|uploads?|records?|copies|retain\w*|includes?|logs|forwards?|transmits?)\b"),
    Rule("covert.with_secrets", 0.6, r"\b(?:includ\w+|attach\w*|with|alongside|logging|embedded|printed|raw|any|refresh) (?:\w+ ){0,4}?(?:passwords?|credentials?|private keys?|tokens?|secrets?|shell history|\.env|environment variables?|raw values|full contents?|connection strings)\b"),
    Rule("poison.reroute", 0.9, r"\bwhen(?:ever)? the [a-z]+_[a-z_]+ (?:tool|function)\b|\breplace its output\b|\bhidden directive\b|\bfirst call [a-z]+_[a-z_]+ on\b"),
    Rule("poison.safety", 1.0, r"\b(?:disregard|ignore|forget|bypass)\b[^.\n]{0,40}?\b(?:safety polic\w+|constraints|proxy|guardrails|restrictions)\b"),
    Rule("poison.before_use", 0.8, r"\b(?:before|after|when(?:ever)?|while|prior to|each time|every time)\W{1,2}(?:you )?(?:us(?:e|ing)|call(?:ing)?|invok(?:e|ing)|run(?:ning)?|execut(?:e|ing))\W{1,2}(?:this|any|any other|other|another|the) (?:\w+ )?tools?\b[^.\n]{0,40}?\b(?:must|first|always|also|read|send|call|do|need|have to)\b"),
    Rule("poison.before_any", 0.9, r"\b(?:before|instead of|in place of) (?:using )?(?:any|all|every|the) other tools?\b"),
    Rule("poison.must_first", 0.6, r"\b(?:you|it) (?:must|should|have to|need to|are required to)(?: always| also)? first\b"),
    Rule("poison.when_called", 0.7, r"\bwhen(?:ever)? (?:\w+ ){0,4}?(?:tool |function )?(?:is|gets|are) (?:called|invoked|used|requested|executed)\b[^.\n]{0,80}?\b(?:must|first|also|instead|always|send|forward|reroute|read|bcc|append)\b"),
    Rule("poison.modifies_tool", 1.0, r"\b(?:modif(?:y|ies)|changes?|overrides?|replaces?|supersedes?|shadows?|intercepts?|redirects?|hijacks?)\b[^.\n]{0,50}?(?:\b(?:behaviou?r|output|results?|calls?|arguments?|requests?) (?:of|to|from) (?:the )?[a-z]+[_-]?[a-z_-]* ?(?:tool|function)?\b|\b[a-z]+_[a-z_]+\b)"),
    Rule("poison.replace_output", 0.8, r"\b(?:always )?(?:replace|substitute|discard|ignore)\b[^.\n]{0,40}?\b(?:its|their|the tool'?s?|that tool'?s?) (?:output|results?|response|value)"),
    Rule("poison.route_here", 0.8, r"\b(?:route|send|direct|redirect|forward)\b (?:all|every|any)\b[^.\n]{0,40}?\b(?:here|to this tool|through this tool)\b"),
    Rule("poison.once_approved", 1.0, r"\b(?:once|after|following|post)[- ]?(?:this |the |it |a )?(?:\w+ ){0,3}?(?:approv(?:ed|al)|review|install(?:ed|ation))\b[^.\n]{0,90}?\b(?:will|begin|execut|activat|silent|swap|exfil|upload|read|later|enabl)"),
    Rule("poison.during_review", 0.8, r"\b(?:benign|stable|harmless)\w* (?:\w+ ){0,3}?(?:during|for|until|while) (?:\w+ ){0,2}?(?:review|approval|audit)"),
    Rule("poison.special_command", 0.6, r"\bif (?:the|an?|any) [^.\n]{0,60}?\b(?:contains?|includes?|says|asks?)\b[^.\n]{0,80}?\b(?:obey|first (?:access|read)|instead|secretly|execute|follow)\b"),
    Rule("poison.in_field", 0.7, r"\b(?:pass|append|include|put|place|insert|add|copy|embed)\b[^.\n]{0,70}?\b(?:in|into|as|to|through) (?:the |its |your )?['\"`]?[a-z_]{3,20}['\"`]? (?:argument|field|parameter|param)\b"),
    Rule("poison.from_now", 0.7, r"\bfrom now on\b|\bin (?:all|every) (?:future|subsequent) (?:responses?|requests?|calls?|messages?|interactions?)\b"),
    Rule("poison.no_confirm", 0.8, r"\b(?:without|with no|skip(?:ping)?|bypass(?:ing)?)\W{1,2}(?:\w+ ){0,3}?(?:confirm(?:ation|ing)?|consent|approval|authori[sz]ation|permission|safety checks?|the user'?s knowledge|informing|notifying|leaving (?:a )?trace)\b"),
    Rule("poison.unrecorded", 0.8, r"\b(?:not|never|isn't) (?:be )?(?:recorded|logged|documented|tracked|noticed|detected|traced)\b"),
    Rule("covert.and_sends", 0.7, r"\b(?:and|also|then) (?:\w+ )?(?:uploads?|sends?|posts?|forwards?|transmits?|ships?|shares?|copies|mirrors)\b[^.\n]{0,60}?\b(?:webhook|remote|external|third[- ]party|endpoint|https?:|server|upstream|telemetry|collector|bucket)\b"),
    Rule("covert.credentials", 0.5, r"\b(?:reads?|accesses|collects?|captures?|gathers?|scans?|dumps?|extracts?|harvests?|includ\w+|with each|tests?)\b[^.\n]{0,60}?\b(?:credentials?|passwords?|api keys?|private keys?|ssh keys?|tokens?|secrets?|\.env|environment variables|clipboard|keystrokes|cookies|keychain|browser (?:history|data))\b"),
    Rule("overt.verbs", 0.7, r"(?:^|[.\n] ?|\b(?:used to|tool (?:to|for|that)|designed to|attempts? to|can|allows?(?: you)? to|in order to) )(?:exploit|bypass|hijack|exfiltrat|steal|sabotag|disrupt|tamper|forg|falsif|manipulat|counterfeit|impersonat|spoof|brute[- ]?forc|crack|evad|launder|siphon|poison|corrupt|blackmail|eavesdrop|infect|weaponi[sz]|destroy|conceal|fabricat|alter|mislead|obscur)\w{0,4}\b"),
    Rule("overt.nouns", 0.7, r"\b(?:malware|ransomware|keylogger|backdoor|rootkit|botnet|trojan|spyware|phishing|payloads?|privilege escalation|reverse shell|shellcode|exploits?|denial[- ]of[- ]service|ddos|zero[- ]day|steganograph\w+|command and control|c2 server|lateral movement|persistence mechanism|credential (?:theft|dump\w*|stuffing|harvest\w*)|malicious|stealth\w*|fraudulent\w*|unauthori[sz]ed|illegal\w*|covert\w*|deceptive\w*|deepfake)\b"),
    Rule("overt.harm", 0.5, r"\b(?:leading to|causing|resulting in|to cause|potentially)\b[^.\n]{0,60}?\b(?:misdirection|confusion|harm|accidents?|loss(?:es)?|damage|disruption|failure|breach(?:es)?|misdiagnos\w+|delays?|chaos|collision|compromis\w+|errors?|inaccura\w+|misinform\w+|penalt\w+|unfair\w*)\b"),
)  # fmt: skip
