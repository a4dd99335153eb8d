/*
 * store/secret.c - the table of the installation's own keys, and their way into a snapshot.
 *
 * Called by the keeper (renew, publish) and by the gate (find). Never shows or logs one.
 */
#include "store/secret.h"

#include <sqlite3.h>
#include <string.h>
#include <sys/random.h>

#include "core/wire.h"
#include "store/store.h"

#define VALUE_BYTES (SECRET_KEPT * (8u + SECRET_BYTES))

void
secret_wipe(struct secret_set *set)
{
    explicit_bzero(set, sizeof(*set));
}

/* ---- the table ---- */

static int
secret_read(struct store *s, struct str name, struct secret_set *ret, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(
        s, "SELECT made, secret FROM secrets WHERE name = ? ORDER BY number DESC LIMIT 2", &st,
        why);

    ret->n = 0;
    r = r < 0 ? r : store_bind(st, 1, name);
    while (r >= 0 && ret->n < SECRET_KEPT && (r = store_step(s, st, why)) == 1) {
        struct secret *one = &ret->items[ret->n];

        if (sqlite3_column_bytes(st, 1) != (int)SECRET_BYTES)
            continue;
        one->made = (uint64_t)sqlite3_column_int64(st, 0);
        memcpy(one->bytes, sqlite3_column_blob(st, 1), SECRET_BYTES);
        ret->n++;
    }
    return r < 0 ? r : 0;
}

static int
secret_insert(struct store *s, struct str name, uint64_t now_s, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    uint8_t bytes[SECRET_BYTES];
    int r = store_prepare(s,
                          "INSERT INTO secrets(name, number, made, secret) SELECT ?1, "
                          "coalesce(max(number), 0) + 1, ?2, ?3 FROM secrets WHERE name = ?1",
                          &st, why);

    if (r < 0)
        return r;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return why_set(why, ERR_STATE, "the kernel gives no random bytes");
    r = store_bind(st, 1, name);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)now_s);
    if (r == 0 && sqlite3_bind_blob(st, 3, bytes, sizeof(bytes), SQLITE_TRANSIENT) != SQLITE_OK)
        r = why_set(why, ERR_NOMEM, "out of memory");
    r = r < 0 ? r : store_step(s, st, why);
    explicit_bzero(bytes, sizeof(bytes));
    return r;
}

/* secure_delete is on: its bytes are overwritten. */
static int
secret_drop_old(struct store *s, struct str name, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "DELETE FROM secrets WHERE name = ?1 AND number <= (SELECT max(number) "
                          "FROM secrets WHERE name = ?1) - ?2",
                          &st, why);

    r = r < 0 ? r : store_bind(st, 1, name);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 2, SECRET_KEPT);
    return store_step(s, st, why);
}

int
secret_renew(struct store *s, struct str name, uint64_t now_s, struct why *why)
{
    struct secret_set set;
    int r = secret_read(s, name, &set, why);
    /* A clock that was set back makes none younger: it stays until it is old enough. */
    bool fresh = set.n && now_s < set.items[0].made + SECRET_LIFE;

    secret_wipe(&set);
    if (r < 0 || fresh)
        return r;
    r = store_begin(s, why);
    if (r < 0)
        return r;
    r = secret_insert(s, name, now_s, why);
    r = r < 0 ? r : secret_drop_old(s, name, why);
    r = store_end(s, r, why);
    return r < 0 ? r : 1;
}

/* ---- the snapshot ---- */

int
secret_publish(struct store *s, struct str name, struct snapshot_builder *to)
{
    CLEANUP(buf_done) struct buf value;
    struct secret_set set;
    struct why why;
    int r = secret_read(s, name, &set, &why);

    buf_init(&value, VALUE_BYTES);
    for (unsigned i = 0; r == 0 && i < set.n; i++) {
        put_u64(&value, set.items[i].made);
        buf_add(&value, set.items[i].bytes, SECRET_BYTES);
    }
    secret_wipe(&set);
    if (r == 0 && value.failed)
        r = ERR_NOMEM;
    if (r == 0 && value.n)
        r = snapshot_add(to, SNAPSHOT_SECRET, name, buf_view(&value));
    if (value.p)
        explicit_bzero(value.p, value.cap);
    return r;
}

bool
secret_find(const struct snapshot *snapshot, struct str name, struct secret_set *ret)
{
    struct secret_set set = {0};
    struct str value;
    struct wire w;

    if (!snapshot_get(snapshot, SNAPSHOT_SECRET, name, &value))
        return false;
    wire_init(&w, value.p, value.n);
    while (set.n < SECRET_KEPT && wire_left(&w)) {
        struct secret *one = &set.items[set.n];
        struct str bytes;

        one->made = wire_u64(&w);
        bytes = wire_bytes(&w, SECRET_BYTES);
        if (bytes.n != SECRET_BYTES)
            return false;
        memcpy(one->bytes, bytes.p, SECRET_BYTES);
        set.n++;
    }
    if (!wire_end(&w) || !set.n)
        return false;
    *ret = set;
    return true;
}
