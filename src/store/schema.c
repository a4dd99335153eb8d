/*
 * store/schema.c - the store's tables as numbered steps; PRAGMA user_version says how far it is.
 *
 * Called by store_open. A step that was published is never edited: a change is a further step.
 */
#include <sqlite3.h>

#include "store/store.h"

static const char *const steps[] = {
    /* 1: logins, whom they may write as, counters, and who changed what */
    "CREATE TABLE users ("
    "  login TEXT NOT NULL PRIMARY KEY,"
    "  tenant TEXT NOT NULL DEFAULT '',"
    "  verifier TEXT NOT NULL,"
    "  created INTEGER NOT NULL,"
    "  changed INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE user_senders ("
    "  login TEXT NOT NULL REFERENCES users(login) ON DELETE CASCADE,"
    "  entry TEXT NOT NULL,"
    "  PRIMARY KEY (login, entry)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE counters ("
    "  name TEXT NOT NULL PRIMARY KEY,"
    "  value INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE changes ("
    "  n INTEGER PRIMARY KEY,"
    "  at INTEGER NOT NULL,"
    "  what TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  reason TEXT NOT NULL"
    ") STRICT;",
    /* 2: DKIM keys; the private half sealed under the keyring's master key, empty once retired */
    "CREATE TABLE dkim_keys ("
    "  domain TEXT NOT NULL,"
    "  selector TEXT NOT NULL,"
    "  number INTEGER NOT NULL,"
    "  tenant TEXT NOT NULL,"
    "  alg INTEGER NOT NULL,"
    "  bits INTEGER NOT NULL,"
    "  public TEXT NOT NULL,"
    "  sealed BLOB NOT NULL,"
    "  state INTEGER NOT NULL,"
    "  created INTEGER NOT NULL,"
    "  since INTEGER NOT NULL,"
    "  seen INTEGER NOT NULL DEFAULT 0,"
    "  checked INTEGER NOT NULL DEFAULT 0,"
    "  found INTEGER NOT NULL DEFAULT 0,"
    "  reason TEXT NOT NULL DEFAULT '',"
    "  PRIMARY KEY (domain, selector)"
    ") STRICT, WITHOUT ROWID;",
    /* 3: keys that the installation makes for itself (store/secret.h) */
    "CREATE TABLE secrets ("
    "  name TEXT NOT NULL,"
    "  number INTEGER NOT NULL,"
    "  made INTEGER NOT NULL,"
    "  secret BLOB NOT NULL,"
    "  PRIMARY KEY (name, number)"
    ") STRICT, WITHOUT ROWID;",
    /* 4: received reports: DMARC with records, TLS with policies and failures */
    "CREATE TABLE reports ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  kind INTEGER NOT NULL," /* 1 DMARC, 2 TLS */
    "  org TEXT NOT NULL,"
    "  id TEXT NOT NULL,"
    "  domain TEXT NOT NULL," /* of the policy; of TLS the first */
    "  contact TEXT NOT NULL,"
    "  policy TEXT NOT NULL,"
    "  errors TEXT NOT NULL,"
    "  since INTEGER NOT NULL,"
    "  until INTEGER NOT NULL,"
    "  messages INTEGER NOT NULL," /* of TLS: sessions */
    "  good INTEGER NOT NULL,"
    "  bad INTEGER NOT NULL,"
    "  records INTEGER NOT NULL," /* rows of the tables below */
    "  received INTEGER NOT NULL,"
    "  mail TEXT NOT NULL,"
    "  sender TEXT NOT NULL,"
    "  proof TEXT NOT NULL," /* empty: nothing proved the sender of that mail */
    "  proved_by TEXT NOT NULL,"
    "  UNIQUE (kind, org, id, domain)"
    ") STRICT;"
    "CREATE INDEX reports_domain ON reports(domain, since);"
    "CREATE INDEX reports_received ON reports(received);"
    "CREATE TABLE report_records ("
    "  report INTEGER NOT NULL REFERENCES reports(number) ON DELETE CASCADE,"
    "  n INTEGER NOT NULL,"
    "  source TEXT NOT NULL,"
    "  messages INTEGER NOT NULL,"
    "  disposition INTEGER NOT NULL," /* 0 none, 1 pass, 2 quarantine, 3 reject */
    "  dkim INTEGER NOT NULL,"        /* aligned: 1 pass */
    "  spf INTEGER NOT NULL,"
    "  header_from TEXT NOT NULL,"
    "  envelope_from TEXT NOT NULL,"
    "  envelope_to TEXT NOT NULL,"
    "  signer TEXT NOT NULL," /* domain of a signature that passed */
    "  bounce TEXT NOT NULL," /* domain whose SPF passed */
    "  details TEXT NOT NULL,"
    "  PRIMARY KEY (report, n)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE report_policies ("
    "  report INTEGER NOT NULL REFERENCES reports(number) ON DELETE CASCADE,"
    "  n INTEGER NOT NULL,"
    "  type TEXT NOT NULL,"
    "  domain TEXT NOT NULL,"
    "  strings TEXT NOT NULL,"
    "  mxs TEXT NOT NULL,"
    "  good INTEGER NOT NULL," /* sessions */
    "  failed INTEGER NOT NULL,"
    "  PRIMARY KEY (report, n)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX report_policies_domain ON report_policies(domain);"
    "CREATE TABLE report_failures ("
    "  report INTEGER NOT NULL REFERENCES reports(number) ON DELETE CASCADE,"
    "  n INTEGER NOT NULL,"
    "  policy INTEGER NOT NULL,"
    "  result TEXT NOT NULL,"
    "  sessions INTEGER NOT NULL,"
    "  sending_ip TEXT NOT NULL,"
    "  receiving_ip TEXT NOT NULL,"
    "  mx TEXT NOT NULL,"
    "  info TEXT NOT NULL,"
    "  PRIMARY KEY (report, n)"
    ") STRICT, WITHOUT ROWID;",
    /* 5: what a report takes of reports.keep_records, and the order in which they go */
    "ALTER TABLE reports ADD COLUMN weight INTEGER NOT NULL DEFAULT 0;"
    "UPDATE reports SET weight = records;"
    "CREATE INDEX reports_go ON reports(proof != '', received, number, weight);",
    /* 6: a report is also known by who proved to have sent it, and comes and goes in pieces */
    "CREATE TABLE reports_6 ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  kind INTEGER NOT NULL,"
    "  org TEXT NOT NULL,"
    "  id TEXT NOT NULL,"
    "  domain TEXT NOT NULL,"
    "  contact TEXT NOT NULL,"
    "  policy TEXT NOT NULL,"
    "  errors TEXT NOT NULL,"
    "  since INTEGER NOT NULL,"
    "  until INTEGER NOT NULL,"
    "  messages INTEGER NOT NULL,"
    "  good INTEGER NOT NULL,"
    "  bad INTEGER NOT NULL,"
    "  records INTEGER NOT NULL,"
    "  received INTEGER NOT NULL,"
    "  mail TEXT NOT NULL,"
    "  sender TEXT NOT NULL,"
    "  proof TEXT NOT NULL,"
    "  proved_by TEXT NOT NULL,"
    "  weight INTEGER NOT NULL,"
    "  sender_group TEXT NOT NULL," /* the organisation of proved_by; empty: nobody */
    "  whole INTEGER NOT NULL"      /* 0: it is being written, or taken out */
    ") STRICT;"
    "INSERT INTO reports_6 SELECT number, kind, org, id, domain, contact, policy, errors, since,"
    "  until, messages, good, bad, records, received, mail, sender, proof, proved_by, weight,"
    "  CASE WHEN proof = '' THEN '' WHEN proved_by = '' THEN '?' ELSE lower(proved_by) END, 1"
    "  FROM reports;"
    "UPDATE sqlite_sequence SET seq = max(seq, (SELECT o.seq FROM sqlite_sequence o"
    "  WHERE o.name = 'reports')) WHERE name = 'reports_6'"
    "  AND EXISTS (SELECT 1 FROM sqlite_sequence o WHERE o.name = 'reports');"
    "DROP TABLE reports;"
    "ALTER TABLE reports_6 RENAME TO reports;"
    "CREATE UNIQUE INDEX reports_known ON reports(kind, org, id, domain, sender_group)"
    "  WHERE whole = 1;"
    "CREATE INDEX reports_domain ON reports(domain, since);"
    "CREATE INDEX reports_received ON reports(received) WHERE whole = 1;"
    "CREATE INDEX reports_part ON reports(number) WHERE whole = 0;"
    "CREATE INDEX reports_go ON reports(sender_group, received, number, weight) WHERE whole = 1;",
};

static int
read_version(struct store *s, int *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, "PRAGMA user_version", &st, why);

    r = r < 0 ? r : store_step(s, st, why);
    if (r == 1)
        *ret = sqlite3_column_int(st, 0);
    return r < 0 ? r : 0;
}

static int
run_step(struct store *s, int number, struct why *why)
{
    char version[48];
    int r = store_begin(s, why);

    if (r < 0)
        return r;
    str_fmt(version, sizeof(version), "PRAGMA user_version=%d", number);
    if (sqlite3_exec(store_db(s), steps[number - 1], NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(store_db(s), version, NULL, NULL, NULL) != SQLITE_OK)
        r = why_set(why, ERR_STATE, "cannot bring the store to version %d: %s", number,
                    sqlite3_errmsg(store_db(s)));
    return store_end(s, r, why);
}

static int
references(struct store *s, bool on, struct why *why)
{
    const char *sql = on ? "PRAGMA foreign_keys=ON" : "PRAGMA foreign_keys=OFF";

    if (sqlite3_exec(store_db(s), sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return why_set(why, ERR_STATE, "store: %s", sqlite3_errmsg(store_db(s)));
}

int
store_migrate(struct store *s, struct why *why)
{
    int version = 0, r = read_version(s, &version, why);

    if (r < 0)
        return r;
    if (version < 0 || (size_t)version > ARRAY_LEN(steps))
        return why_set(why, ERR_VERSION,
                       "the store is of version %d, this program knows up to %zu; it was left as "
                       "it is: start the newer program, or put back a backup",
                       version, ARRAY_LEN(steps));
    if ((size_t)version == ARRAY_LEN(steps))
        return 0;
    /* A step may make a table anew: what refers to the old one must not go with it. */
    r = references(s, false, why);
    while (r == 0 && (size_t)version < ARRAY_LEN(steps))
        r = run_step(s, ++version, why);
    return r == 0 ? references(s, true, why) : r;
}
