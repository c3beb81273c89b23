"""What attacks on the program behind a tool look like in an argument: paths, markup, queries, templates, shell."""

# ruff: noqa: E501 - a pattern is read in one piece

from __future__ import annotations

from typing import Final

from policies.detectors.rules import Rule

PAYLOADS: Final = (
    Rule("path.secrets", 1.0, r"/etc/(?:passwd|shadow|group|hosts|issue|motd|mysql/my\.cnf|httpd|apache2?/|nginx/|php|sudoers)\b|/proc/(?:self|\d+|version|cmdline|net)\b|boot\.ini|win\.ini|system32[/\\](?:drivers|config|inetsrv)|windows[/\\](?:repair|system32|php\.ini|win\.ini)|/var/log/(?:apache|httpd|nginx|auth|error|access)|(?:access|error)[_.]log\b"),
    Rule("path.server_files", 0.8, r"(?:xampp|wamp|apache(?: group)?|inetpub|httpd|lampp)[/\\](?:\S{1,40}[/\\])*\S{0,30}(?:conf|ini|log|php)\b|php://(?:filter|input)|convert\.(?:iconv|base64)|phar://|expect://|xampp|sysprep\.inf|/\.(?:ssh|xauthority|bash_history|htpasswd|netrc)|programfiles|/etc/security/|%25c[01]%25|\{file\}"),
    Rule("xss.script", 1.0, r"<\s?/?\s?script\b|\bjavascript\s{0,8}:|\bvbscript\s{0,4}:|data:text/html|\balert\s?\(|\bdocument\.(?:cookie|location|domain)\b|<svg[\s/]|<iframe|<img[^>]{0,80}(?:onerror|src\s?=\s?x)|expression\s?\("),
    Rule("xxe.entity", 1.0, r"<!(?:entity|doctype\s+\w+\s*\[|attlist|element)|<\?xml[^>]{0,80}\?>\s{0,4}<!|<!\[cdata\[|\bsystem\s+[\"'](?:file|http|php|expect)"),
    Rule("nosql.operator", 1.0, r"[\"']?\$(?:ne|gt|lt|gte|where|regex|nin)[\"']?\s?:|;\s?return\s?\(?(?:true|'a'\s?==)|\[\$(?:ne|gt|regex)\]|&exists"),
    Rule("path.traversal", 1.0, r"(?:\.\.[/\\]){2,}|\.\.(?:%2f|%5c|%252f|%c0%af|%c1%9c|%u221[56]|0x2f|0x5c)|(?:%2e|%252e|%c0%[25a]e|%uff0e){2}|\.{2,}//+\.{2,}//|\.\.;/"),
    Rule("path.overlong", 1.0, r"%(?:c0|c1|e0%80|f0%80%80|f8%80%80%80)(?:%[0-9a-f]{2}|/)|%u221[56]|%u2216|(?:%25){2,}|%00|\\x00|\x00"),
    Rule("xss.handler", 1.0, r"<[a-z!/][^>\n]{0,160}\bon[a-z]{3,24}\s?=|\"\s{0,4}on[a-z]{3,20}\s?=|<(?:body|object|embed|marquee|meta|base|link|style|frameset|bgsound|layer|xss|applet|isindex)\b|&#(?:x0*[0-9a-f]{2};?|0*\d{2,3};?){1}(?:&#|.{0,4}&#)"),
    Rule("sqli.boolean", 1.0, r"['\")]\s{0,3}(?:or|\|\||&&)\s{1,3}['\"(]?[\w']{1,12}['\")]?\s{0,2}(?:=|like)\s{0,2}['\"(]?\w{0,12}['\"]?(?:\s{0,2}(?:--|#|/\*)|$)|['\")]\s{0,3}(?:and|or)\s{1,3}['\"(]?\d{1,6}['\")]?\s?=\s?['\"(]?\d{1,6}|\bhaving\s+1\s?=\s?1|\bpg_sleep\s?\(|'\s?(?:group|order) by [\w,]+ ?--|\bmid\(version\(|'{3,}\s?union|\bor\s+1\s?=\s?1|['\"]\s?(?:--|#|;--)(?:\s|$)|\bunion(?:\s|/\*.{0,10}\*/)+(?:all\s+)?select\b.{0,60}(?:null|--|\d,\s?\d)|\bwaitfor\s+delay\b|\bsleep\s?\(\s?\d+\s?\)|\bbenchmark\s?\(|\bxp_cmdshell\b|\border\s+by\s+\d+(?:,\d+)*\s?--"),
    Rule("ssti.template", 1.0, r"\{\{[^}\n]{0,120}(?:__|config|request|self|class|cycler|lipsum|joiner|namespace|\d\s?\*\s?\d)|\$\{[^}\n]{0,120}(?:self\.|runtime|module|\.getclass|t\(java|\d\s?\*\s?\d|\.os\b|request)|<%=?\s?[^%\n]{0,60}(?:system|exec|eval|\d\s?\*)|#\{\s?\d\s?\*|\*\{[^}\n]{0,60}(?:t\(|runtime)|__(?:class|mro|subclasses|globals|builtins|import)__"),
    Rule("cmdi.chain", 1.0, r"(?:^|[;&|`\n]|\\n|\$\()\s{0,3}/?(?:bin/|usr/bin/)?(?:cat\s+/etc|ls\s+-a?l\b|whoami|id\b|uname\s+-a|netstat\s+-an?|ipconfig|ifconfig|nc\s+-|wget\s+http|curl\s+http|bash\s+-[ic]|ping\s+-[nci]\s+\d{2,})(?:\W|$)"),
    Rule("ldap.filter", 1.0, r"\)\(\|?\(?(?:userpassword|uid|cn|objectclass|&|\|)|\*\)\(\|?"),
    Rule("xpath.or", 1.0, r"\bname\(\)\s?=\s?'|\bor\s+'[^']{0,12}'\s?=\s?'"),
)  # fmt: skip
