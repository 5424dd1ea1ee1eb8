"""The file of a SQLite journal: its tables, how it is opened, what stands in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from xml_pipeline.envelope import Message
from xml_pipeline.errors import JournalError
from xml_pipeline.journal import digest
from xml_pipeline.journal.durable import Kept, KeptSession, OpenConversation
from xml_pipeline.journal.protocol import Step
from xml_pipeline.journal.rows import message_unpacked, unpacked
from xml_pipeline.journal.uptime import Uptime
from xml_pipeline.threads.record import Entry

APPLICATION_ID = 0x786D6C70  # "xmlp": how `file` and we recognise it
VERSION = 5  # of the tables; another one is migrated or refused, never guessed at

_AT_ONCE = 500  # values in one statement; SQLite takes 999 everywhere
_DAMAGED = (
    "; it is damaged: `xml-pipeline journal check` tells where. Put a copy of it back that is whole, with its -wal"
    " file, or name another file to begin anew"
)
_NOT_WRITABLE = "; whoever runs the organism needs to be allowed to write it, and files beside it"
_HELP = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: "; make room on its disk and start again",
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_IOERR: "; its disk refuses to read or to write: see that it has room and is whole",
}

PATIENCE = "PRAGMA busy_timeout = 2000"  # milliseconds

_WAL_BYTES = 64 * 2**20  # to which the log is cut back after a checkpoint

_TABLES = """
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    caller TEXT NOT NULL,
    listener TEXT NOT NULL,
    session TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL
);
CREATE INDEX ended_in_order ON conversations (ended) WHERE ended IS NOT NULL;
CREATE TABLE open (number INTEGER PRIMARY KEY, owes INTEGER NOT NULL);
CREATE TABLE steps (
    conversation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    size INTEGER NOT NULL,
    at REAL NOT NULL,
    events BLOB NOT NULL,
    digest BLOB NOT NULL,
    erased BLOB
);
CREATE UNIQUE INDEX steps_in_order ON steps (conversation, seq);
CREATE TABLE letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL,
    message TEXT NOT NULL,
    at REAL NOT NULL,
    sender TEXT NOT NULL,
    receiver TEXT NOT NULL,
    root TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX letters_of ON letters (conversation);
CREATE TABLE memories (
    session TEXT NOT NULL,
    memory TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    keep INTEGER NOT NULL,
    root TEXT NOT NULL,
    entry BLOB NOT NULL,
    PRIMARY KEY (session, memory, ordinal)
) WITHOUT ROWID;
CREATE TABLE parts (
    conversation TEXT NOT NULL,
    message TEXT NOT NULL,
    key TEXT NOT NULL,
    began REAL NOT NULL,
    value BLOB,
    PRIMARY KEY (message, key)
) WITHOUT ROWID;
CREATE INDEX parts_of ON parts (conversation);
CREATE TABLE lives (began REAL NOT NULL, alive REAL NOT NULL);
"""

_CALLS = """
CREATE TABLE calls (
    number INTEGER PRIMARY KEY,
    conversation TEXT NOT NULL,
    message TEXT NOT NULL,
    run INTEGER NOT NULL,
    request BLOB,
    nth INTEGER NOT NULL,
    threads TEXT NOT NULL,
    agent TEXT NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    priced TEXT NOT NULL,
    began REAL NOT NULL,
    prompt INTEGER NOT NULL,
    output INTEGER NOT NULL,
    micro_usd INTEGER,
    response TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT '',
    ended REAL,
    cached INTEGER NOT NULL DEFAULT 0,
    cache_write INTEGER NOT NULL DEFAULT 0,
    reasoning INTEGER NOT NULL DEFAULT 0,
    estimated INTEGER NOT NULL DEFAULT 1,
    confirmed INTEGER NOT NULL DEFAULT 0,
    stop TEXT NOT NULL DEFAULT '',
    tools INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX calls_in ON calls (conversation, message) WHERE conversation <> '';
CREATE INDEX calls_at ON calls (began);
CREATE TABLE answers (call INTEGER PRIMARY KEY, parts BLOB NOT NULL, answer BLOB NOT NULL);
CREATE TABLE runs (began REAL NOT NULL, before INTEGER NOT NULL, ended REAL);
"""

_SESSIONS = """
CREATE TABLE IF NOT EXISTS sessions (
    session TEXT PRIMARY KEY,
    seconds REAL,
    until REAL,
    closed INTEGER NOT NULL
) WITHOUT ROWID;
"""

# What calls are for, and what they would have cost without a cache; what was taken back of budgets. An index of some
# rows only is not used where SQLite cannot see that those are meant.
_MONEY = """
DROP INDEX calls_in;
CREATE INDEX calls_in ON calls (conversation, message);
ALTER TABLE calls ADD COLUMN operation TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN plain INTEGER;
ALTER TABLE calls ADD COLUMN amended REAL;
CREATE TABLE forgiven (
    scope TEXT NOT NULL,
    at REAL NOT NULL,
    prompt INTEGER NOT NULL,
    output INTEGER NOT NULL,
    micro_usd INTEGER NOT NULL
);
"""

_SCHEMAS = "ALTER TABLE memories ADD COLUMN schema BLOB NOT NULL DEFAULT x'';"

# What waits for people, so that it is found without reading the conversations; oldest first.
_QUESTIONS = """
CREATE TABLE IF NOT EXISTS questions (
    number INTEGER PRIMARY KEY,
    thread TEXT NOT NULL UNIQUE,
    conversation INTEGER NOT NULL,
    message BLOB NOT NULL
);
"""

# Limits that handlers set for their threads.
_LIMITS = """
CREATE TABLE limits (
    thread TEXT PRIMARY KEY,
    conversation TEXT NOT NULL,
    limits BLOB NOT NULL
) WITHOUT ROWID;
"""

# Which organism's call it is and which try of it; what a provider keeps for an hour.
_ATTEMPTS = """
ALTER TABLE calls ADD COLUMN organism TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE calls ADD COLUMN cache_write_1h INTEGER NOT NULL DEFAULT 0;
"""

# Who brought in what calls are made for, and through which door; up to when each trigger has fired.
_DOORS = """
ALTER TABLE calls ADD COLUMN caller TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN door TEXT NOT NULL DEFAULT '';
CREATE TABLE IF NOT EXISTS triggers (
    name TEXT PRIMARY KEY,
    seen REAL NOT NULL,
    sent INTEGER NOT NULL
) WITHOUT ROWID;
"""

# What flows do, for calls of them that outlive a change of the file.
_DEFINITIONS = """
CREATE TABLE IF NOT EXISTS definitions (digest TEXT PRIMARY KEY, definition TEXT NOT NULL) WITHOUT ROWID;
"""

_MIGRATIONS = {
    # Answers were kept by another digest of what was asked: whoever asks again would not find them.
    1: f"DROP TABLE answers; {_CALLS}",
    2: f"{_SESSIONS} {_QUESTIONS} {_SCHEMAS}",
    3: _MONEY,
    4: f"{_LIMITS} {_ATTEMPTS} {_DEFINITIONS} {_DOORS}",
}
"""From each version of the tables to the next one."""

# What the writer adds, row by row.
CONVERSATION = "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, NULL)"
OPEN = "INSERT INTO open VALUES (?, 1)"
STEP = "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, NULL)"
QUESTION = "INSERT OR REPLACE INTO questions VALUES (NULL, ?, ?, ?)"
ANSWERED = "DELETE FROM questions WHERE thread = ?"
DEFINITION = "INSERT OR IGNORE INTO definitions VALUES (?, ?)"
LETTER = "INSERT INTO letters VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"


def made(path: Path) -> None:
    """See to it that the file exists, and that nobody else may read it.

    For its owner alone: closing a descriptor lets go all locks that the process has on the file, SQLite's too
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def opened(path: Path, synchronous: str) -> sqlite3.Connection:
    """The connection that writes, and checkpoints. There may be one for a file.

    Raises:
        JournalError: it is another program's database, or of another version.
        sqlite3.Error: it is no database, or cannot be read or written.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _prepare(connection, path, synchronous)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    connection.execute(PATIENCE)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables:
        version = _recognised(connection, path, range(1, VERSION + 1))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if not tables:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} {_CALLS} {_SESSIONS} {_QUESTIONS} {_SCHEMAS} {_MONEY} {_LIMITS} {_ATTEMPTS}"
            f" {_DEFINITIONS} {_DOORS} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {VERSION}; COMMIT;"
        )
        return
    for number in range(version, VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
        )


def looked_at(path: Path) -> sqlite3.Connection:
    """A connection to a journal for a person to look at.

    Raises:
        JournalError: there is no such file, or it is no journal of this version.
    """
    if not path.is_file():
        raise JournalError(f"there is no journal {path}: it is made when the organism is started")
    with sqlite_told(path):
        connection = read_only(path)
        try:
            _recognised(connection, path, (VERSION,))
        except BaseException:
            connection.close()
            raise
        return connection


def _recognised(connection: sqlite3.Connection, path: Path, versions: Container[int]) -> int:
    """Its version. Raises JournalError: it is no journal, or of none of these versions."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise JournalError(f"{path} holds nothing: a journal is made when the organism is started")
    if application != APPLICATION_ID:
        raise JournalError(f"{path} is a database of another program; name another file for the journal")
    if version not in versions:
        advice = (
            "start its organism once, and it is brought up to date"
            if 1 <= version < VERSION
            else "use the version that wrote it, or name another file"
        )
        raise JournalError(
            f"the journal {path} has format {version}, and this version of xml-pipeline reads {VERSION}; {advice}"
        )
    return int(version)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that only reads. Keep its transactions short: the log cannot be folded while one is open."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute(PATIENCE)
    return connection


def steps_of(connection: sqlite3.Connection, conversation_id: str) -> list[Step]:
    """All steps of a conversation, in order.

    Raises:
        JournalError: a step is not what was written, is missing, or was written by a newer version.
    """
    rows = connection.execute(
        "SELECT seq, size, at, events, digest, erased FROM steps"
        " WHERE conversation = (SELECT number FROM conversations WHERE id = ?) ORDER BY seq",
        (conversation_id,),
    ).fetchall()
    steps: list[Step] = []
    expected, chain = 0, digest.first(conversation_id)
    for seq, size, at, stored, own, erased in rows:
        if seq != expected:
            raise JournalError(f"conversation {conversation_id} has a gap: event {expected} is missing")
        if not digest.is_sound(chain, own, erased, seq, size, at, stored):
            raise JournalError(
                f"conversation {conversation_id} is changed: event {seq} is not what was written"
            )
        try:
            steps.append(Step(conversation_id, seq, at, unpacked(stored)))
        except msgspec.MsgspecError as error:
            raise JournalError(
                f"the journal holds what this version cannot read of conversation {conversation_id}: {error}"
            ) from error
        expected, chain = expected + size, own
    return steps


def asked_in(connection: sqlite3.Connection, thread_ids: Sequence[str]) -> list[Message]:
    """What waits for people in these threads; without what cannot be read."""
    found = []
    for start in range(0, len(thread_ids), _AT_ONCE):
        some = thread_ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = connection.execute(f"SELECT message FROM questions WHERE thread IN ({marks})", some)  # noqa: S608
        for (message,) in rows:
            with suppress(msgspec.MsgspecError):
                found.append(message_unpacked(message))
    return found


def kept_in(connection: sqlite3.Connection) -> Kept:
    """What an organism finds when it starts on the file."""
    open_ = connection.execute(
        "SELECT id, began, owes, session FROM open JOIN conversations USING (number) ORDER BY number"
    ).fetchall()
    memories: dict[str, dict[str, list[tuple[int, int, Entry]]]] = {}
    rows = connection.execute("SELECT session, memory, ordinal, keep, root, entry, schema FROM memories")
    for session, memory, ordinal, keep, *entry in rows:
        memories.setdefault(session, {}).setdefault(memory, []).append((ordinal, keep, Entry(*entry)))
    lives = connection.execute("SELECT began, alive FROM lives ORDER BY rowid").fetchall()
    found = [OpenConversation(each, began, bool(owes), session) for each, began, owes, session in open_]
    sessions = {
        session: KeptSession(seconds, until, bool(closed))
        for session, seconds, until, closed in connection.execute("SELECT * FROM sessions")
    }
    asked = connection.execute(
        "SELECT thread, conversations.id FROM questions JOIN open ON open.number = conversation"
        " JOIN conversations ON conversations.number = conversation ORDER BY questions.number"
    )
    definitions = dict(connection.execute("SELECT digest, definition FROM definitions").fetchall())
    return Kept(found, memories, Uptime(lives), sessions, dict(asked.fetchall()), definitions)


@contextmanager
def sqlite_told(path: Path) -> Iterator[None]:
    """What SQLite says in this block, about a damaged file, too, is an error of the journal. Raises JournalError."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # it quotes names, and they may be damaged
        raise unusable(path, error) from error


def unusable(path: Path, error: BaseException) -> JournalError:
    """What is said when a journal cannot be used."""
    if isinstance(error, JournalError):
        return error
    if isinstance(error, OSError):
        return JournalError(f"the journal {path} cannot be used: {error.strerror}")
    told = JournalError(f"the journal {path} cannot be used: {error}{_to_do(error)}")
    told.__cause__ = error
    return told


def _to_do(error: BaseException) -> str:
    """What helps against an error of SQLite, when that is known."""
    code = getattr(error, "sqlite_errorcode", None)
    return "" if code is None else _HELP.get(code & 0xFF, "")
