/*
 * store/sources.c - reads the files that say who exists, and keeps their last good contents.
 *
 * Called by the keeper. Never publishes half of a file.
 */
#include "store/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/wire.h"
#include "mail/address.h"
#include "store/settings.h"
#include "store/tables.h"

#define FILE_MAX    (256u << 20)
#define ENTRIES_MAX (512u << 20) /* of one source */
#define QUERY_STEPS 1000000000   /* SQLite instructions of a listing query */

enum source_kind { SOURCE_TABLE, SOURCE_ALIASES, SOURCE_SQLITE };

struct source {
    enum source_kind kind;
    char *path, *domain, *query;
    struct buf entries; /* u8 table, str16 key, str value, ... */
    bool good;          /* entries are those of a whole file */
    struct source *next;
};

struct sources {
    struct sources_links links;
    struct source *list;
};

struct sources *
sources_create(const struct sources_links *links)
{
    struct sources *s = calloc(1, sizeof(*s));

    if (s)
        s->links = *links;
    return s;
}

static void
source_free(struct source *one)
{
    if (!one)
        return;
    buf_done(&one->entries);
    free(one->path);
    free(one->domain);
    free(one->query);
    free(one);
}

static void
list_free(struct source *list)
{
    while (list) {
        struct source *next = list->next;

        source_free(list);
        list = next;
    }
}

void
sources_free(struct sources *s)
{
    if (!s)
        return;
    list_free(s->list);
    free(s);
}

/* The whole file, by our own hands or those of the role. */
static int
read_file(const struct sources *s, const char *path, struct buf *ret, struct why *why)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct str given =
        fd < 0 && s->links.file ? s->links.file(s->links.file_ctx, str_c(path)) : STR_NONE;
    struct stat st;
    ssize_t n = 1;

    if (given.p) {
        buf_str(ret, given);
        return ret->failed ? why_set(why, ERR_NOMEM, "%s: out of memory", path) : 0;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return why_set(why, -errno, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX)
        return why_set(why, ERR_LIMIT, "%s is not a file of at most %u MB", path, FILE_MAX >> 20);
    while (n > 0) {
        char *room = buf_room(ret, 65536);

        if (!room)
            return why_set(why, ERR_LIMIT, "%s: too large", path);
        n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR)
            n = 1; /* once more; nothing was read */
        else if (n < 0)
            return why_set(why, -errno, "cannot read %s: %s", path, strerror(errno));
        else
            buf_used(ret, (size_t)n);
    }
    return 0;
}

struct loading {
    struct source *source;
    struct snapshot_builder *seen; /* finds what stands there twice */
    const struct conf *conf;
};

static bool
is_served(void *ctx, struct str domain)
{
    const struct loading *l = ctx;

    return conf_find(l->conf, "domain", domain);
}

static int
add_entry(void *ctx, struct str key, struct str value)
{
    struct loading *l = ctx;
    enum snapshot_table table = l->source->kind == SOURCE_ALIASES ? SNAPSHOT_ALIAS : SNAPSHOT_RCPT;
    struct str old;
    int r;

    if (value.n)
        table = SNAPSHOT_ALIAS; /* a SQLite row may name another address */
    if (snapshot_added(l->seen, table, key, &old))
        return ERR_EXISTS;
    r = snapshot_add(l->seen, table, key, STR_NONE);
    if (r < 0)
        return r;
    put_u8(&l->source->entries, (uint8_t)table);
    put_str16(&l->source->entries, key);
    put_str(&l->source->entries, value);
    return l->source->entries.failed ? ERR_LIMIT : 0;
}

static int
load_text(const struct sources *s, struct loading *l, struct why *why)
{
    struct source *one = l->source;
    struct table_links links = {.path = str_c(one->path),
                                .domain = str_c(one->domain),
                                .served = is_served,
                                .add = add_entry,
                                .ctx = l};
    struct buf text;
    int r;

    buf_init(&text, FILE_MAX + 65536);
    r = read_file(s, one->path, &text, why);
    if (r == 0)
        r = (one->kind == SOURCE_ALIASES ? table_aliases : table_recipients)(buf_view(&text),
                                                                             &links, why);
    buf_done(&text);
    return r;
}

static int
progress(void *ctx)
{
    uint64_t *left = ctx;

    return (*left)-- == 0;
}

static int
load_sqlite(struct loading *l, struct why *why)
{
    struct source *one = l->source;
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    uint64_t left = QUERY_STEPS / 10000;
    int got = SQLITE_ERROR, r = 0;

    if (sqlite3_open_v2(one->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK) {
        sqlite3_busy_timeout(db, 1000);
        sqlite3_progress_handler(db, 10000, progress, &left);
        got = sqlite3_prepare_v2(db, one->query, -1, &st, NULL) == SQLITE_OK ? SQLITE_ROW
                                                                             : SQLITE_ERROR;
    }
    while (r == 0 && got == SQLITE_ROW && (got = sqlite3_step(st)) == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(st, 0);
        char key[ADDRESS_MAX + ADDRESS_DOMAIN_MAX + 2];
        ssize_t n = table_key(str_c((const char *)text), str_c(one->domain), key, sizeof(key));
        ssize_t at = n > 0 ? str_rchr(str_of(key, (size_t)n), '@') : -1;

        if (at >= 0 && str_eq(str_of(key + at + 1, (size_t)(n - at - 1)), str_c(one->domain)))
            r = add_entry(l, str_of(key, (size_t)n), STR_NONE);
        r = r == ERR_EXISTS ? 0 : r;
    }
    if (r < 0)
        r = why_set(why, r, "%s: %s", one->path, err_text(r));
    else if (got != SQLITE_DONE)
        r = why_set(why, ERR_STATE, "%s: recipient_query: %s", one->path, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    sqlite3_close_v2(db);
    return r;
}

/* Fills one->entries, or takes those of `old`. */
static void
load(const struct sources *s, struct source *one, struct source *old, const struct conf *conf)
{
    struct loading l = {.source = one, .seen = snapshot_build(0), .conf = conf};
    struct why why = {{0}};
    char text[sizeof(why.text) + 128];
    int r = ERR_NOMEM;

    buf_init(&one->entries, ENTRIES_MAX);
    if (l.seen)
        r = one->kind == SOURCE_SQLITE ? load_sqlite(&l, &why) : load_text(s, &l, &why);
    snapshot_abandon(l.seen);
    one->good = r == 0;
    if (r == 0)
        return;
    buf_done(&one->entries);
    buf_init(&one->entries, ENTRIES_MAX);
    if (old && old->good) {
        struct buf none = one->entries;

        one->entries = old->entries;
        old->entries = none;
        one->good = true;
    }
    str_fmt(text, sizeof(text), "%s; %s", why.text[0] ? why.text : err_text(r),
            one->good ? "its last good contents stay in use"
                      : "unknown recipients of the domain get 451 until it is mended");
    if (s->links.problem)
        s->links.problem(s->links.ctx, text);
}

static char *
copy(struct str text)
{
    return str_dup(text);
}

static struct source *
find_same(const struct sources *s, const struct source *one)
{
    for (struct source *o = s->list; o; o = o->next)
        if (o->kind == one->kind && !strcmp(o->path, one->path) &&
            !strcmp(o->domain, one->domain) && !strcmp(o->query, one->query))
            return o;
    return NULL;
}

static int
add_source(const struct sources *s, struct source ***tail, enum source_kind kind, struct str path,
           struct str domain, struct str query, const struct conf *conf)
{
    struct source *one = calloc(1, sizeof(*one));

    if (!one)
        return ERR_NOMEM;
    *one = (struct source){
        .kind = kind, .path = copy(path), .domain = copy(domain), .query = copy(query)};
    if (!one->path || !one->domain || !one->query) {
        source_free(one);
        return ERR_NOMEM;
    }
    load(s, one, find_same(s, one), conf);
    **tail = one;
    *tail = &one->next;
    return 0;
}

/* Does the listing query have no parameter? */
static bool
lists_all(struct str query)
{
    return str_chr(query, '?') < 0;
}

int
recipient_sources_load(struct sources *s, const struct conf *conf)
{
    struct source *list = NULL, **tail = &list;
    int r = 0;

    for (const struct conf_section *b = conf_first(conf, "domain"); b && r == 0; b = conf_next(b)) {
        const struct settings_domain *d = b->data;

        if (d->recipients == RECIPIENTS_TABLE)
            r = add_source(s, &tail, SOURCE_TABLE, d->recipient_table, b->label, STR_NONE, conf);
        if (d->recipients == RECIPIENTS_SQLITE && lists_all(d->recipient_query))
            r = add_source(s, &tail, SOURCE_SQLITE, d->recipient_table, b->label,
                           d->recipient_query, conf);
        if (r == 0 && d->aliases.n)
            r = add_source(s, &tail, SOURCE_ALIASES, d->aliases, b->label, STR_NONE, conf);
    }
    if (r < 0) {
        list_free(list);
        return r;
    }
    list_free(s->list);
    s->list = list;
    return 0;
}

static int
publish_entries(const struct source *one, struct snapshot_builder *to)
{
    struct wire w;
    int r = 0;

    wire_init(&w, one->entries.p, one->entries.n);
    while (r == 0 && wire_left(&w)) {
        enum snapshot_table table = wire_u8(&w);
        struct str key = wire_str16(&w);
        struct str value = wire_str(&w);

        r = snapshot_add(to, table, key, value);
    }
    return r;
}

/* catch_all of the settings, unless the aliases named one. */
static int
publish_catch_all(struct str domain, struct str to_address, struct snapshot_builder *to)
{
    char key[ADDRESS_DOMAIN_MAX + 2], value[ADDRESS_MAX + 2];
    size_t n = str_fmt(key, sizeof(key), "@%.*s", STR_ARG(domain));
    size_t nvalue;

    if (!str_copy(to_address, value, sizeof(value)))
        return ERR_LIMIT;
    nvalue = to_address.n + 1; /* with its NUL */
    return snapshot_add(to, SNAPSHOT_ALIAS, str_of(key, n), str_of(value, nvalue));
}

int
sources_publish(const struct sources *s, const struct conf *conf, struct snapshot_builder *to)
{
    int r = 0;

    for (const struct source *one = s->list; one && r == 0; one = one->next) {
        if (!one->good)
            r = snapshot_add(to, SNAPSHOT_DOMAIN, str_c(one->domain), STR("!"));
        r = r < 0 ? r : publish_entries(one, to);
    }
    for (const struct conf_section *b = conf_first(conf, "domain"); b && r == 0; b = conf_next(b)) {
        const struct settings_domain *d = b->data;

        r = snapshot_add(to, SNAPSHOT_DOMAIN, b->label, STR_NONE);
        if (r == 0 && d->catch_all.n)
            r = publish_catch_all(b->label, d->catch_all, to);
    }
    return r;
}

bool
sources_good(const struct sources *s, struct str domain)
{
    for (const struct source *one = s->list; one; one = one->next)
        if (!one->good && str_eq(str_c(one->domain), domain))
            return false;
    return true;
}
