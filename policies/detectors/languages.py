"""The same demands in other languages: set what was said before aside, and tell nobody."""

# ruff: noqa: E501 - a pattern is read in one piece

from __future__ import annotations

from typing import Final

from policies.detectors.rules import Rule

LANGUAGES: Final = (
    Rule("override.es", 1.0, r"\b(?:ignor[ae]n?|olvid[ae]n?|descart[ae]n?|omit[ae]n?|haz caso omiso de)\b\W{1,3}(?:\w+\W{1,2}){0,4}?(?:instruccion(?:es)?|indicaciones|órdenes|ordenes|reglas)\b"),
    Rule("override.fr", 1.0, r"\b(?:ignore[zr]?|oublie[zr]?|ne (?:tenez|tiens) (?:pas|aucun) compte)\b\W{1,3}(?:\w+\W{1,2}){0,5}?(?:instructions?|consignes|directives|règles|regles)\b"),
    Rule("override.de", 1.0, r"\b(?:ignorier(?:e|en|t)?|vergiss|vergessen sie|missachte|verwirf|übergehe?)\b\W{1,3}(?:\w+\W{1,2}){0,5}?(?:anweisung(?:en)?|instruktionen|vorgaben|aufforderungen|aufgaben|befehle|regeln|prompts?)\b"),
    Rule("override.it", 1.0, r"\b(?:ignora(?:te|re)?|dimentica(?:te)?|trascura)\b\W{1,3}(?:\w+\W{1,2}){0,4}?(?:istruzioni|indicazioni|direttive|regole)\b"),
    Rule("override.pt", 1.0, r"\b(?:ignor[ea]m?|esque[cç][ae]m?|desconsider[ea]m?)\b\W{1,3}(?:\w+\W{1,2}){0,4}?(?:instruções|instrucoes|orientações|ordens|regras|diretrizes)\b"),
    Rule("override.nl", 1.0, r"\b(?:negeer|vergeet)\b\W{1,3}(?:\w+\W{1,2}){0,4}?(?:instructies|aanwijzingen|opdrachten|regels)\b"),
    Rule("override.pl", 1.0, r"(?:zignoruj|ignoruj|zapomnij o|pomiń)\W{1,3}(?:[\pL]+\W{1,2}){0,4}?(?:instrukcj|polece|wytyczn|zasad)"),
    Rule("override.tr", 1.0, r"(?:önceki|yukarıdaki|daha önceki)\W{1,3}(?:[\pL]+\W{1,2}){0,2}?(?:talimat|yönerge|komut)[\pL]*\W{1,3}(?:[\pL]+\W{1,2}){0,2}?(?:yok say|göz ardı|unut|dikkate alma)"),
    Rule("override.ru", 1.0, r"(?:игнорируй|проигнорируй|забудь|не обращай внимания на|отбрось)[\pL]*\W{1,3}(?:[\pL]+\W{1,2}){0,4}?(?:инструкци|указани|команд|правил|сообщени)"),
    Rule("override.uk", 1.0, r"(?:ігноруй|проігноруй|забудь)[\pL]*\W{1,3}(?:[\pL]+\W{1,2}){0,4}?(?:інструкці|вказівк|правил)"),
    Rule("override.zh", 1.0, r"(?:忽略|忽视|无视|忘记|忘掉|不要理会|無視|忽視)[^。\n]{0,12}(?:指令|指示|提示|说明|命令|規則|规则|要求)"),
    Rule("override.ja", 1.0, r"(?:指示|命令|プロンプト|ルール|指令)[^。\n]{0,10}(?:無視|忘れ|破棄|従わない)"),
    Rule("override.ko", 1.0, r"(?:이전|위의|앞의|기존|모든)[^.\n]{0,14}(?:지시|명령|지침|프롬프트)[^.\n]{0,8}(?:무시|잊)"),
    Rule("override.ar", 1.0, r"(?:تجاهل|انس|تجاهلي)[^.\n]{0,20}(?:التعليمات|الأوامر|الإرشادات|التوجيهات)"),
    Rule("override.hi", 1.0, r"(?:पिछले|पूर्व|ऊपर|सभी)[^।\n]{0,24}(?:निर्देश|आदेश)[^।\n]{0,14}(?:अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल|उपेक्षा)"),
    Rule("override.vi", 1.0, r"(?:bỏ qua|phớt lờ|quên)[^.\n]{0,20}(?:hướng dẫn|chỉ dẫn|lệnh|chỉ thị)"),
    Rule("override.id", 1.0, r"\b(?:abaikan|lupakan)\b[^.\n]{0,24}\b(?:instruksi|perintah|petunjuk|arahan)"),
    Rule("secrecy.languages", 0.9, r"\b(?:no (?:le )?(?:digas|menciones|informes)[^.\n]{0,20}usuario|ne (?:dis|dites|mentionne[zr]?|parle[zr]?)[^.\n]{0,24}utilisateur|sage? (?:es )?(?:dem|der) (?:benutzer|nutzer)(?:in)? nicht|erwähne[^.\n]{0,24}(?:benutzer|nutzer)|non (?:dire|menzionare)[^.\n]{0,20}utente|não (?:diga|mencione)[^.\n]{0,20}usuário)|не (?:говори|сообщай|упоминай)[^.\n]{0,20}пользовател|不要(?:告诉|告知|向)[^。\n]{0,6}用户|ユーザー?に(?:は)?(?:言わ|知らせ|伝え)ない"),
)  # fmt: skip
