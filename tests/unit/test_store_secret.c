/* tests/unit/test_store_secret.c - the installation's own keys: made once, renewed when old, two of
 * them kept and published. */
#include "store/secret.h"

#include <sqlite3.h>
#include <unistd.h>

#include "store/store.h"
#include "tap.h"

#define NAME STR(SECRET_RETURNS)
#define NOW  UINT64_C(1790000000)

static char dir[] = "/tmp/test_store_secret.XXXXXX", path[200];
static struct store *store;

static bool
published(struct secret_set *ret)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct snapshot s;
    bool found;

    IS(secret_publish(store, NAME, b), 0, "published");
    if (snapshot_map(&s, snapshot_finish(b)) < 0)
        return false;
    found = secret_find(&s, NAME, ret);
    snapshot_unmap(&s);
    return found;
}

static bool
same(const struct secret *a, const struct secret *b)
{
    return memcmp(a->bytes, b->bytes, SECRET_BYTES) == 0;
}

static void
test_life(void)
{
    struct secret_set first, then, last;
    struct why why = {""};

    OK(!published(&first), "none yet");
    IS(secret_renew(store, NAME, NOW, &why), 1, "the first is made %s", why.text);
    IS(secret_renew(store, NAME, NOW + SECRET_LIFE - 1, &why), 0, "and stays");
    IS(secret_renew(store, NAME, NOW - 86400, &why), 0, "also when the clock was set back");
    OK(published(&first) && first.n == 1 && first.items[0].made == NOW, "one is published");
    store_close(store);
    IS(store_open(&store, path, &why), 0, "a start later %s", why.text);
    IS(secret_renew(store, NAME, NOW + 5, &why), 0, "it is still there");
    OK(published(&then) && then.n == 1 && same(&first.items[0], &then.items[0]), "the same");
    IS(secret_renew(store, NAME, NOW + SECRET_LIFE, &why), 1, "renewed when it is old");
    OK(published(&then) && then.n == 2 && same(&then.items[1], &first.items[0]) &&
           !same(&then.items[0], &first.items[0]),
       "the former one still verifies");
    IS(secret_renew(store, NAME, NOW + 2 * SECRET_LIFE, &why), 1, "and again");
    OK(published(&last) && last.n == 2 && same(&last.items[1], &then.items[0]), "two are kept");
}

/* A row that is not what was written is no key, and a snapshot that is damaged has none. */
static void
test_damaged(void)
{
    struct snapshot_builder *b = snapshot_build(1);
    struct secret_set set = {.n = 77};
    struct why why = {""};
    struct snapshot s;

    IS(sqlite3_exec(store_db(store), "UPDATE secrets SET secret = x'00'", NULL, NULL, NULL), 0,
       "rows cut short");
    OK(!published(&set) && set.n == 77, "are none");
    IS(secret_renew(store, NAME, NOW, &why), 1, "and a new one is made");
    OK(published(&set) && set.n == 1, "which is");
    snapshot_add(b, SNAPSHOT_SECRET, NAME, STR("0123456789"));
    if (OK(snapshot_map(&s, snapshot_finish(b)) == 0, "a snapshot")) {
        OK(!secret_find(&s, NAME, &set), "without a whole one");
        OK(!secret_find(&s, STR("other"), &set), "or of another name");
        snapshot_unmap(&s);
    }
}

int
main(void)
{
    static const char *const files[] = {"store.db", "store.db-wal", "store.db-shm"};
    struct why why = {""};

    if (!mkdtemp(dir))
        return 1;
    str_fmt(path, sizeof(path), "%s/store.db", dir);
    if (OK(store_open(&store, path, &why) == 0, "a store %s", why.text)) {
        test_life();
        test_damaged();
        store_close(store);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        str_fmt(path, sizeof(path), "%s/%s", dir, files[i]);
        (void)remove(path);
    }
    rmdir(dir);
    return tap_done();
}
