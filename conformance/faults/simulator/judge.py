"""What must hold after every step, whatever happened."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, Final

from conformance.faults.simulator.clock import Clock
from conformance.faults.simulator.people import Line, Question
from conformance.faults.simulator.servers import TOKEN, Received
from hub.audit.chain import GENESIS, check_rows
from hub.audit.logfile import rows_of
from hub.core.call import Call, Denied, Listed, Outcome

CALL_S: Final = 30.0  # edge.call_s of the configuration
ANSWER_S: Final = CALL_S + 5.0 + 1.0  # and the log's time, and a grace
STEADY_S: Final = 1.0
BACK_QUEUE: Final = 64  # edge.back_queue of the configuration
BACKLOG: Final = BACK_QUEUE + 16  # and those that came in the same moment
LAZY_S: Final = 1.0  # an entry of a list may follow its answer by so much
CODE: Final = "io.mcp-hub/code"
KIND_OF: Final = {"tools/call": "tool", "prompts/get": "prompt", "resources/read": "resource"}


class Violation(Exception):
    """Something that always holds did not."""


class Judge:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.faults: list[str] = []
        self.calm_since = 0.0  # nothing but downstream servers misbehaved from then on
        self.disk_well_since = 0.0
        self.questions: dict[str, Question] = {}  # by token
        self.executed: Counter[str] = Counter()
        self.tally: Counter[str] = Counter()  # what happened, for the run's last line
        self.secrets: set[str] = set()  # keys in plain
        self.most_tasks = 0
        self._harmless: set[str] = set()  # tokens whose caller was told that nothing was done
        self._call_of: dict[str, str] = {}  # call id by token
        self._owed: list[tuple[str, float]] = []  # calls whose entry may still be on its way, and until when
        self._logged: set[str] = set()
        self._intents: set[str] = set()
        self._seq, self._prev = 0, GENESIS
        self._digest = hashlib.sha256()
        self._log: sqlite3.Connection | None = None

    @property
    def digest(self) -> str:
        """Of everything that clients were answered, in order: two runs of one seed agree on it."""
        return self._digest.hexdigest()[:16]

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def unrest(self) -> None:
        """Something other than a downstream is going on: the steady server's calls may suffer from now to then."""
        self.calm_since = max(self.clock.now, self.disk_well_since) + 3.0

    # Told by the hub's ports and by the other ends.

    def entered(self, call: Call) -> None:
        if (found := TOKEN.search(json.dumps(call.params))) is not None:
            self._call_of[found[0]] = call.id

    def answered(self, call: Call, outcome: Outcome) -> None:
        """The pipeline has answered: from now on the entry must be there."""
        if isinstance(outcome, Denied) and outcome.code == "audit_unavailable":
            return
        if isinstance(outcome, Listed):
            self._owed.append((call.id, self.clock.now + LAZY_S))
        elif not self._has(call.id, ("call", "list")):
            self.fault(f"{call.method} was answered, and the log has no entry of {call.id}")

    def abandoned(self, call: Call) -> None:
        """Its caller went away: it is over, and logged all the same."""
        self.tally["cancelled"] += 1
        self._owed.append((call.id, self.clock.now + LAZY_S))

    def work(self, received: Received) -> None:
        """A server was given something to do."""
        token = received.token
        question = self.questions.get(token)
        if question is None:
            self.fault(f"{received.server} was given work that nobody asked for: {received}")
            return
        if received.method == "tools/call":
            self.executed[token] += 1
            if received.writes and self.executed[token] > 1:
                self.fault(f"the write {token} was executed {self.executed[token]} times")
            if token in self._harmless:
                self.fault(f"{token} was executed, and its caller was told that nothing was done")
        if received.server != question.server:
            self.fault(f"{token} was meant for {question.server} and went to {received.server}")
        kind = KIND_OF.get(received.method, "prompt")
        if kind == question.kind and not question.may_reach(received.server, kind, question.public):
            self.fault(f"{token} of {question.line.person.name} reached {question.public}, which is not granted")
        if self._is_write(question, received) and not self._has(self._call_of.get(token, ""), ("intent",)):
            self.fault(f"the write {token} left the hub before its intent was in the log")

    def heard(self, line: Line, raw: bytes) -> Question | None:
        """A client was told something; the question, if that is its answer."""
        text = raw.decode()
        for who, number in TOKEN.findall(text):
            if who != line.person.name:
                self.fault(f"{line.person.name} was told tok-{who}-{number}: {text[:300]}")
        message = json.loads(text)
        if "method" in message:
            self.tally[message["method"]] += 1
            line.backlog += self.clock.now == line.reading_since
            if line.backlog > BACKLOG:
                self.fault(f"more than {BACKLOG} notifications waited for {line.person.name}, who did not read")
            return None
        id = message.get("id")
        question = line.questions.pop(id, None)
        if question is None:
            if id in line.done:
                self.fault(f"{line.person.name}'s {line.done[id].method} was answered twice: {text[:300]}")
            elif id is not None:
                self.fault(f"{line.person.name} was given an answer to nothing: {text[:300]}")
            return None
        line.done[id] = question
        if len(line.done) > 200:
            del line.done[next(iter(line.done))]
        question.answer, question.answered = message, self.clock.now
        self._judge_answer(question, message)
        return question

    def restarted(self, path: Path, *, killed: bool) -> None:
        """A new run of the hub has begun on the same directory."""
        if killed:
            self._owed.clear()  # their entries were not promised yet
        if self._log is not None:
            self._log.close()
        self._log = sqlite3.connect(path / "audit.db", isolation_level=None)
        self._read_log()
        for call in self._intents - self._logged:
            self.fault(f"the write {call} has an intent and no outcome, although the hub was started again")
        report = check_rows(rows_of(self._log, "ORDER BY seq"))
        if not report.ok:
            self.fault(f"the log does not verify: {report.reason}")

    # After each step.

    def step(self, lines: list[Line], servers: int, timers: int) -> None:
        """`timers`: those that are set. Raises Violation."""
        self._read_log()
        now = self.clock.now
        open_questions = 0
        for line in lines:
            open_questions += len(line.questions)
            if line.open and line.reads:
                self._judge_waiting(line, now)
        self._judge_owed(now)
        tasks = len(asyncio.all_tasks())
        self.most_tasks = max(self.most_tasks, tasks)
        if tasks > (bound := 40 + 6 * open_questions + 6 * len(lines) + 10 * servers):
            self.fault(f"{tasks} tasks for {open_questions} open requests of {len(lines)} connections: over {bound}")
        if timers > (bound := 100 + 10 * open_questions + 6 * len(lines) + 20 * servers):
            self.fault(f"{timers} timers for {open_questions} open requests of {len(lines)} connections: over {bound}")
        if self.faults:
            raise Violation("\n  ".join(dict.fromkeys(self.faults)))

    def _judge_waiting(self, line: Line, now: float) -> None:
        for question in line.questions.values():
            since = max(question.sent, line.reading_since)
            if question.cancelled or question.open_ended:
                continue
            if now - since > ANSWER_S:
                self.fault(f"{line.person.name}'s {question.method} has no answer after {now - since:.0f} s")
            elif self._should_be_well(question) and now - since > STEADY_S:
                self.fault(f"{question.method} of the steady server has no answer after {now - since:.1f} s")

    def _judge_owed(self, now: float) -> None:
        self._owed = [(call, due) for call, due in self._owed if call not in self._logged]
        for call, due in self._owed:
            if now > max(due, self.disk_well_since + LAZY_S):
                self.fault(f"the call {call} is over, and not in the log after {LAZY_S:g} s")

    def _judge_answer(self, question: Question, message: dict[str, Any]) -> None:
        code = code_of(message)
        error = (message.get("error") or {}).get("code")
        self._digest.update(f"{self.clock.now:.6f} {question.method} {question.token} {code} {error};".encode())
        self.tally[code or ("error" if error else "answered")] += 1
        person, key = question.line.person, question.line.key
        if code is None and "error" not in message and question.method != "initialize":
            ended = min(person.ended.get(key, question.sent + 1), question.sent + 1)
            if ended < question.sent or question.sent_wall >= person.expires.get(key, question.sent_wall + 1):
                self.fault(f"{person.name}'s {question.method} was answered under a key that had ended")
        if question.method == "tools/call" and question.token:
            self._judge_effect(question, message, code)
        if question.method.endswith("/list") and "result" in message:
            self._judge_list(question, message["result"])
        if self._should_be_well(question):
            if code not in (None, "rate_limited"):
                self.fault(f"{question.method} of the steady server was answered {code}: {json.dumps(message)[:400]}")
            since = max(question.sent, question.line.reading_since)
            if self.clock.now - since > STEADY_S:
                self.fault(f"the steady server's {question.method} took {self.clock.now - since:.1f} s")

    def _judge_effect(self, question: Question, message: dict[str, Any], code: str | None) -> None:
        """What the caller is told of the effect of a call is true, and stays so."""
        times, text = self.executed[question.token], json.dumps(message)
        if code is None:
            if times != 1:
                self.fault(f"{question.token} was answered by its server, and executed {times} times")
        elif "is not known" in text:
            self.tally["outcome unknown"] += 1
        elif "It was carried out" in text:
            if times != 1:
                self.fault(f"{question.token} was said to be carried out, and executed {times} times: {code}")
        else:
            self._harmless.add(question.token)
            if times:
                self.fault(f"{question.token} was executed, and answered {code} as if nothing had been done: {text}")

    def _judge_list(self, question: Question, result: dict[str, Any]) -> None:
        for kind, member, key in (
            ("tool", "tools", "name"),
            ("prompt", "prompts", "name"),
            ("resource", "resources", "uri"),
            ("resource", "resourceTemplates", "uriTemplate"),
        ):
            for item in result.get(member, ()):
                server = item[key].partition("+" if kind == "resource" else "__")[0]
                if not question.may_reach(server, kind, item[key]):
                    self.fault(f"{question.line.person.name} was shown {item[key]}, which is not granted")

    def _should_be_well(self, question: Question) -> bool:
        return question.steady and not question.cancelled and self.calm_since <= question.sent

    def _is_write(self, question: Question, received: Received) -> bool:
        trusted = question.rules[0].trusted
        return received.method == "tools/call" and (received.writes or received.server not in trusted)

    def _has(self, call: str, kinds: tuple[str, ...]) -> bool:
        assert self._log is not None
        rows = self._log.execute("SELECT kind FROM entries WHERE tenant = 'local' AND call = ?", (call,)).fetchall()
        return any(kind in kinds for (kind,) in rows)

    def _read_log(self) -> None:
        """The chain goes on where it was, and nobody's key stands in it."""
        assert self._log is not None
        rows = list(rows_of(self._log, "WHERE seq > ? ORDER BY seq", (self._seq,)))
        if not rows:
            if self._log.execute("SELECT max(seq) FROM entries").fetchone()[0] != self._seq and self._seq:
                self.fault(f"the log has lost entries: it ended at {self._seq}")
            return
        report = check_rows(rows, after_seq=self._seq, prev=self._prev)
        if not report.ok:
            self.fault(f"the log does not go on as it stood: {report.reason}")
        for row in rows:
            if row.kind in ("call", "list"):
                if row.call in self._logged:
                    self.fault(f"{row.call} has two outcomes in the log")
                self._logged.add(row.call)
            elif row.kind == "intent":
                self._intents.add(row.call)
            if b"mhk_" in row.line:
                self.fault(f"a key stands in the log: {row.line[:200]!r}")
        self._seq, self._prev = rows[-1].seq, rows[-1].hash.hex()


def code_of(message: dict[str, Any]) -> str | None:
    """The hub's own code, when an answer is the hub's own word."""
    for holder in (message.get("result"), (message.get("error") or {}).get("data")):
        meta = holder.get("_meta") if isinstance(holder, dict) else None
        if isinstance(meta, dict) and CODE in meta:
            return str(meta[CODE])
    return None
