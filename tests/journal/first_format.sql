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
CREATE TABLE answers (
    conversation TEXT NOT NULL,
    message TEXT NOT NULL,
    run INTEGER NOT NULL,
    request BLOB NOT NULL,
    nth INTEGER NOT NULL,
    asked REAL NOT NULL,
    answered REAL,
    answer BLOB,
    UNIQUE (message, run, request, nth)
);
CREATE INDEX answers_of ON answers (conversation);
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
