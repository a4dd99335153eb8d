/*
 * store/users.c - logins in the store: passwords as SCRAM verifiers, whom they may write as.
 *
 * Called by the keeper. Never keeps or shows a password.
 */
#include "store/users.h"

#include <sqlite3.h>

#include "core/clock.h"
#include "mail/address.h"
#include "net/sasl.h"
#include "store/settings.h"
#include "store/store.h"

#define ENTRIES_MAX (64u << 10) /* bytes of a login's rights */
#define SHOWN(s)    (int)MIN((s).n, (size_t)80), (s).p ? (s).p : ""

static int
check_login(struct str login, char dst[LOGIN_MAX + 1], struct str *ret, struct why *why)
{
    if (login_fold(login, dst, ret) == 0)
        return 0;
    return why_set(why, ERR_SYNTAX,
                   "a login has 1 to %u bytes of UTF-8 without control characters; nothing was "
                   "changed",
                   LOGIN_MAX);
}

static int
make_verifier(struct str password, uint32_t iterations, char dst[SASL_VERIFIER_TEXT],
              struct why *why)
{
    struct sasl_verifier v;

    if (!password.n || password.n > PASSWORD_MAX || memchr(password.p, '\0', password.n) ||
        !str_is_utf8(password))
        return why_set(why, ERR_SYNTAX,
                       "a password has 1 to %u bytes of UTF-8; nothing was "
                       "changed",
                       PASSWORD_MAX);
    if (sasl_verifier_make(password, MAX(iterations, 4096u), &v) < 0)
        return why_set(why, ERR_STATE,
                       "cannot make a verifier of the password; nothing was "
                       "changed");
    sasl_verifier_show(&v, dst);
    explicit_bzero(&v, sizeof(v));
    return 0;
}

static int
insert_user(struct store *s, struct str login, struct str tenant, struct str verifier,
            struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "INSERT INTO users(login, tenant, verifier, created, changed) VALUES "
                          "(?1, ?2, ?3, ?4, ?4) ON CONFLICT(login) DO NOTHING",
                          &st, why);

    r = r < 0 ? r : store_bind(st, 1, login);
    r = r < 0 ? r : store_bind(st, 2, tenant);
    r = r < 0 ? r : store_bind(st, 3, verifier);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 4, (sqlite3_int64)clock_wall_s());
    r = store_step(s, st, why);
    if (r == 0 && sqlite3_changes(store_db(s)) == 0)
        return why_set(why, ERR_EXISTS,
                       "there is a login %.*s already; use `gapura user password` "
                       "for a new password",
                       SHOWN(login));
    return r;
}

static int
insert_senders(struct store *s, struct str login, struct str senders, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, "INSERT OR IGNORE INTO user_senders(login, entry) VALUES (?, ?)", &st,
                          why);

    if (senders.n > ENTRIES_MAX)
        return why_set(why, ERR_LIMIT, "senders are longer than %u bytes", ENTRIES_MAX);
    while (r == 0 && senders.n) {
        struct str entry = str_trim(str_cut(senders, ',', &senders));

        if (!entry.n)
            continue;
        if (!settings_sender_entry(entry))
            return why_set(why, ERR_SYNTAX,
                           "`%.*s` is neither an address, a domain, a .domain "
                           "nor *; nothing was changed",
                           SHOWN(entry));
        sqlite3_reset(st);
        r = store_bind(st, 1, login);
        r = r < 0 ? r : store_bind(st, 2, entry);
        r = r < 0 ? r : store_step(s, st, why);
    }
    return r;
}

int
users_add(struct store *s, struct str login, struct str password, struct str tenant,
          struct str senders, uint32_t iterations, struct why *why)
{
    char folded[LOGIN_MAX + 1], verifier[SASL_VERIFIER_TEXT];
    int r = check_login(login, folded, &login, why);

    r = r < 0 ? r : make_verifier(password, iterations, verifier, why);
    r = r < 0 ? r : store_begin(s, why);
    if (r < 0)
        return r;
    r = insert_user(s, login, tenant, str_c(verifier), why);
    r = r < 0 ? r : insert_senders(s, login, senders, why);
    r = r < 0 ? r : store_note(s, "user.add", login, STR_NONE, why);
    return store_end(s, r, why);
}

/* Runs a statement of ?1 = login (and ?2 if text is given) that must change one row. */
static int
change_user(struct store *s, const char *sql, struct str login, struct str text, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, sql, &st, why);

    r = r < 0 ? r : store_bind(st, 1, login);
    if (r == 0 && text.n)
        r = store_bind(st, 2, text);
    r = r < 0 ? r : store_step(s, st, why);
    if (r == 0 && sqlite3_changes(store_db(s)) == 0)
        return why_set(why, ERR_NOTFOUND, "there is no login %.*s; `gapura user list` shows all",
                       SHOWN(login));
    return r;
}

int
users_password(struct store *s, struct str login, struct str password, uint32_t iterations,
               struct why *why)
{
    char folded[LOGIN_MAX + 1], verifier[SASL_VERIFIER_TEXT];
    int r = check_login(login, folded, &login, why);

    r = r < 0 ? r : make_verifier(password, iterations, verifier, why);
    r = r < 0 ? r : store_begin(s, why);
    if (r < 0)
        return r;
    r = change_user(s, "UPDATE users SET verifier = ?2, changed = unixepoch() WHERE login = ?1",
                    login, str_c(verifier), why);
    r = r < 0 ? r : store_note(s, "user.password", login, STR_NONE, why);
    return store_end(s, r, why);
}

int
users_remove(struct store *s, struct str login, struct str reason, struct why *why)
{
    char folded[LOGIN_MAX + 1];
    int r = check_login(login, folded, &login, why);

    r = r < 0 ? r : store_begin(s, why);
    if (r < 0)
        return r;
    r = change_user(s, "DELETE FROM users WHERE login = ?1", login, STR_NONE, why);
    r = r < 0 ? r : store_note(s, "user.remove", login, reason, why);
    return store_end(s, r, why);
}

int
users_list(struct store *s,
           int (*row)(void *ctx, struct str login, struct str tenant, struct str senders,
                      uint64_t created),
           void *ctx)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "SELECT login, tenant, (SELECT group_concat(entry, ',') FROM "
                          "user_senders AS e WHERE e.login = u.login), created FROM users AS u "
                          "ORDER BY login",
                          &st, NULL);

    while (r >= 0 && (r = store_step(s, st, NULL)) == 1) {
        int got = row(ctx, store_column(st, 0), store_column(st, 1), store_column(st, 2),
                      (uint64_t)sqlite3_column_int64(st, 3));

        if (got < 0)
            return got;
    }
    return r;
}

/* Entries as they are compared: addresses by their key, domains in A-labels, all lower-cased. */
static void
put_entry(struct buf *out, struct str entry)
{
    char key[ADDRESS_MAX + 1];
    struct address a;
    bool dot = entry.n && entry.p[0] == '.';
    ssize_t n;

    if (str_chr(entry, '@') >= 0) {
        n = address_parse(entry, ADDRESS_ALLOW_UTF8, &a) == 0 ? address_key(&a, key, sizeof(key))
                                                              : -1;
    } else if (str_eq(entry, STR("*"))) {
        key[0] = '*';
        n = 1;
    } else {
        n = address_domain_ascii(str_from(entry, dot), key, sizeof(key));
    }
    if (n <= 0)
        return;
    str_lower(key, (size_t)n);
    if (dot)
        buf_char(out, '.');
    buf_add(out, key, (size_t)n);
    buf_char(out, '\0');
}

static void
put_list(struct buf *out, const struct conf_list *list)
{
    const struct str *items = list->items;

    for (size_t i = 0; i < list->n; i++)
        put_entry(out, items[i]);
}

static const struct settings_tenant *
find_tenant(const struct conf *conf, struct str name)
{
    const struct conf_section *s = name.n ? conf_find(conf, "tenant", name) : NULL;

    return s ? s->data : NULL;
}

struct publish {
    const struct conf *conf;
    struct snapshot_builder *to;
    struct buf envelope, from, value;
};

static int
publish_rights(struct publish *p, struct str login, struct str tenant, int class)
{
    const struct settings_tenant *t = find_tenant(p->conf, tenant);
    struct user_rights rights = {
        .tenant = t ? (uint32_t)t->number : 0,
        .class = settings_spool_class(class >= 0 ? class
                                      : t        ? t->class
                                                 : CLASS_TRANSACTIONAL),
        .envelope = buf_view(&p->envelope),
        .from = buf_view(&p->from),
    };

    buf_clear(&p->value);
    user_rights_encode(&p->value, &rights);
    if (p->envelope.failed || p->from.failed || p->value.failed)
        return ERR_LIMIT;
    return snapshot_add(p->to, SNAPSHOT_USER, login, buf_view(&p->value));
}

/* A `user` block: its label is the login. */
static int
publish_block(struct publish *p, const struct conf_section *section)
{
    const struct settings_sender *sender = section->data;
    char folded[LOGIN_MAX + 1];
    struct str login;
    bool from = false, class = false;

    if (login_fold(section->label, folded, &login) < 0)
        return 0;
    for (size_t i = 0; i < section->block->nrows && i < 64; i++) {
        bool set = section->set & (UINT64_C(1) << i);

        from = from || (set && !strcmp(section->block->rows[i].name, "from"));
        class = class || (set && !strcmp(section->block->rows[i].name, "class"));
    }
    buf_clear(&p->envelope);
    buf_clear(&p->from);
    put_list(&p->envelope, &sender->envelope);
    put_list(&p->from, from ? &sender->from : &sender->envelope);
    return publish_rights(p, login, sender->tenant, class ? sender->class : -1);
}

static int
publish_row(void *ctx, struct str login, struct str tenant, struct str senders,
            uint64_t created UNUSED)
{
    struct publish *p = ctx;

    buf_clear(&p->envelope);
    buf_clear(&p->from);
    while (senders.n)
        put_entry(&p->envelope, str_cut(senders, ',', &senders));
    buf_str(&p->from, buf_view(&p->envelope));
    return publish_rights(p, login, tenant, -1);
}

static int
publish_verifiers(struct store *s, struct snapshot_builder *to)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, "SELECT login, verifier FROM users", &st, NULL);

    while (r >= 0 && (r = store_step(s, st, NULL)) == 1) {
        int added = snapshot_add(to, SNAPSHOT_VERIFIER, store_column(st, 0), store_column(st, 1));

        if (added < 0)
            return added;
    }
    return r;
}

int
users_publish(struct store *s, const struct conf *conf, struct snapshot_builder *to, bool verifiers)
{
    struct publish p = {.conf = conf, .to = to};
    int r = 0;

    if (verifiers)
        return publish_verifiers(s, to);
    buf_init(&p.envelope, ENTRIES_MAX * 2);
    buf_init(&p.from, ENTRIES_MAX * 2);
    buf_init(&p.value, ENTRIES_MAX * 5);
    /* of two equal keys the first stays: settings before the store */
    for (const struct conf_section *b = conf_first(conf, "user"); r == 0 && b; b = conf_next(b))
        r = publish_block(&p, b);
    if (r == 0)
        r = users_list(s, publish_row, &p);
    buf_done(&p.envelope);
    buf_done(&p.from);
    buf_done(&p.value);
    return r;
}
