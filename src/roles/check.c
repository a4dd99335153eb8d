/*
 * roles/check.c - references between blocks and the files that settings name.
 *
 * Runs in the loader and in `gapura check`, never in a role that talks to anybody. The settings may
 * be a draft with errors of its own: what is found here is told beside them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/settings.h"
#include "checks/table.h"
#include "core/map.h"
#include "courier/reply_class.h"
#include "courier/settings.h"
#include "gate/body.h"
#include "gate/settings.h"
#include "gate/setup.h"
#include "net/tls.h"
#include "policy/profile.h"
#include "roles/bounds.h"
#include "roles/check.h"
#include "roles/settings.h"
#include "spool/format.h"
#include "store/settings.h"

struct checker {
    const struct conf *conf;
    struct check_files *files;
    struct conf_errors *errs;
};

#define TENANTS_MAX 1000000u
#define NOT_A_FILE  ERR_STATE
#define NEAR_NAMES  1000u /* so many labels are compared with a name that is none */

struct labels {
    const char *names[NEAR_NAMES]; /* parsed text: NUL follows each */
    size_t n;
};

static const char *
label_name(const void *ctx, size_t i)
{
    return ((const struct labels *)ctx)->names[i];
}

/* "; did you mean ...?" for a name that should be that of a block. */
static const char *
near_label(const struct checker *c, const char *block, struct str name, char dst[96])
{
    static struct labels all;

    all.n = 0;
    for (const struct conf_section *s = conf_first(c->conf, block); s; s = conf_next(s)) {
        if (all.n < NEAR_NAMES)
            all.names[all.n++] = s->label.p;
    }
    return conf_hint(conf_nearest(name, label_name, &all, all.n), dst);
}

static void
must_exist(struct checker *c, const struct conf_section *at, const char *row, const char *block,
           struct str name)
{
    char hint[96];

    if (!name.n || conf_find(c->conf, block, name))
        return;
    conf_fail_row(c->errs, at, row, "%s \"%.*s\": %s names %s \"%.*s\", which no file defines%s",
                  at->block->name, STR_ARG(at->label), row, block, STR_ARG(name),
                  near_label(c, block, name, hint));
}

static int
read_whole(struct arena *a, const char *path, struct str *ret)
{
    /* Without waiting for the writer of a FIFO. */
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode))
        return NOT_A_FILE;
    if (st.st_size > 16 << 20)
        return ERR_LIMIT;
    char *p = arena_alloc(a, (size_t)st.st_size + 1);
    if (!p)
        return ERR_NOMEM;
    size_t at = 0;
    while (at < (size_t)st.st_size) {
        ssize_t n = read(fd, p + at, (size_t)st.st_size - at);
        if (n < 0)
            return -errno;
        if (!n)
            break;
        at += (size_t)n;
    }
    *ret = str_of(p, at);
    return 0;
}

/* Paths inside lists are relative to the file that names them; in a row of its own a path was made
 * so by the parser. */
static struct str
beside(struct checker *c, const struct conf_section *at, const char *row, struct str path)
{
    ssize_t slash = str_rchr(at->file, '/');
    if (!path.n || path.p[0] == '/' || slash < 0 || strcmp(row, "certificate") != 0)
        return arena_str(&c->files->arena, path);
    return arena_fmt(&c->files->arena, "%.*s/%.*s", (int)slash, at->file.p, STR_ARG(path));
}

/* The bytes of a file that settings name. Roles find them by the name as it stands there, so one
 * name must not mean two files. */
static struct str
load(struct checker *c, const struct conf_section *at, const char *row, struct str path,
     uint8_t audience)
{
    if (!path.n)
        return STR_NONE;
    struct str full = beside(c, at, row, path), text = STR_NONE;
    for (size_t i = 0; i < c->files->n; i++) {
        if (!str_eq(c->files->items[i].path, path))
            continue;
        if (!str_eq(c->files->full[i], full))
            conf_fail_row(c->errs, at, row,
                          "\"%.*s\" is %.*s here and %.*s elsewhere: write it as an absolute path",
                          STR_ARG(path), STR_ARG(full), STR_ARG(c->files->full[i]));
        c->files->items[i].audience |= audience;
        return c->files->items[i].text;
    }
    int rc = full.p ? read_whole(&c->files->arena, full.p, &text) : ERR_NOMEM;
    if (rc) {
        conf_fail_row(c->errs, at, row, "`%s`: cannot read %.*s: %s", row, STR_ARG(full),
                      rc == NOT_A_FILE ? "it is not a regular file" : err_text(rc));
        return STR_NONE;
    }
    if (c->files->n == ARRAY_LEN(c->files->items) || full.n >= CHECK_PATH_MAX) {
        conf_fail_row(c->errs, at, row,
                      "%.*s: a path has at most %u bytes, and at most %zu files may be named",
                      STR_ARG(full), CHECK_PATH_MAX - 1, ARRAY_LEN(c->files->items));
        return STR_NONE;
    }
    c->files->full[c->files->n] = full;
    c->files->items[c->files->n++] = (struct bundle_file){path, text, audience};
    return text;
}

/* The keeper reads tables itself, again and again; that they are there is seen here. */
static void
must_read(struct checker *c, const struct conf_section *at, const char *row, struct str path)
{
    char name[4096];
    struct stat st;
    if (!path.n || !str_copy(path, name, sizeof name))
        return;
    bool there = !access(name, R_OK) && !stat(name, &st);
    if (there && S_ISREG(st.st_mode))
        return;
    conf_fail_row(c->errs, at, row, "domain \"%.*s\": cannot read the %s %s: %s",
                  STR_ARG(at->label), row, name,
                  there ? "it is not a regular file" : err_text(-errno));
}

static void
check_certificates(struct checker *c, const struct conf_section *s, const struct settings_listen *l)
{
    struct tls_key_pair pairs[16];
    size_t n = 0;
    for (size_t i = 0; i < l->certificate.n; i++) {
        struct str rest = ((struct str *)l->certificate.items)[i];
        struct str cert = str_word(&rest), key = str_word(&rest);
        if (!key.n)
            key = cert; /* one file with both */
        struct str cert_text = load(c, s, "certificate", cert, BUNDLE_FOR_GATE);
        struct str key_text = load(c, s, "certificate", key, BUNDLE_FOR_GATE);
        if (n < ARRAY_LEN(pairs) && cert_text.n && key_text.n)
            pairs[n++] = (struct tls_key_pair){cert_text, key_text};
    }
    struct str ca = load(c, s, "client_ca", l->client_ca, BUNDLE_FOR_GATE);
    if (!n)
        return; /* that one is missing was told by the block's own check */
    struct why why = {{0}};
    struct tls_context *ctx = NULL;
    struct tls_server_conf conf = {.pairs = pairs, .npairs = n, .client_ca = ca};
    if (tls_server_context(&ctx, &conf, &why))
        conf_fail_row(c->errs, s, "certificate", "listen \"%.*s\": %s", STR_ARG(s->label),
                      why.text);
    tls_context_unref(ctx);
}

/* Two listeners at one address: the second could not be opened at the start. */
static void
check_addresses(struct checker *c, const struct conf_section *s)
{
    const struct settings_listen *l = s->data;
    const struct endpoint *mine = l->address.items, *theirs;
    char shown[56];

    for (const struct conf_section *o = conf_first(c->conf, "listen"); o != s; o = conf_next(o)) {
        const struct settings_listen *other = o->data;

        theirs = other->address.items;
        for (size_t i = 0; i < l->address.n; i++)
            for (size_t k = 0; k < other->address.n; k++) {
                if (mine[i].port != theirs[k].port ||
                    memcmp(&mine[i].addr, &theirs[k].addr, sizeof(mine[i].addr)) != 0)
                    continue;
                conf_fail_row(c->errs, s, "address",
                              "listen \"%.*s\" and listen \"%.*s\" both want %s; one of them needs "
                              "another address or port",
                              STR_ARG(o->label), STR_ARG(s->label), endpoint_show(&mine[i], shown));
            }
    }
}

static void
check_listens(struct checker *c)
{
    size_t n = 0;
    for (const struct conf_section *s = conf_first(c->conf, "listen"); s; s = conf_next(s)) {
        const struct settings_listen *l = s->data;
        n += l->address.n;
        if (s->label.n >= PLAN_NAME_MAX || str_eq(s->label, STR("metrics")))
            conf_fail(c->errs, s->file, s->line,
                      "listen \"%.*s\": the name is too long, or kept for the metrics page",
                      STR_ARG(s->label));
        if (n >= PLAN_LISTENS)
            conf_fail_row(c->errs, s, "address", "more than %u addresses to listen at",
                          PLAN_LISTENS - 1);
        if (l->kind == LISTEN_LOCAL)
            n++;
        else if (!l->address.n && conf_row_place(s, "address").line == s->line)
            conf_fail_row(c->errs, s, "address",
                          "listen \"%.*s\" has no address: add `address = 0.0.0.0:25, [::]:25`",
                          STR_ARG(s->label));
        check_addresses(c, s);
        check_certificates(c, s, l);
    }
}

static void
check_pools(struct checker *c)
{
    for (const struct conf_section *s = conf_first(c->conf, "pool"); s; s = conf_next(s)) {
        const struct settings_pool *p = s->data;
        for (size_t i = 0; i < p->sources.n; i++) {
            struct str rest, name = str_cut(((struct str *)p->sources.items)[i], '*', &rest);
            must_exist(c, s, "sources", "source", str_trim(name));
        }
    }
    for (const struct conf_section *s = conf_first(c->conf, "source"); s; s = conf_next(s))
        must_exist(c, s, "exclusive", "tenant",
                   ((const struct settings_source *)s->data)->exclusive);
    for (const struct conf_section *s = conf_first(c->conf, "tenant"); s; s = conf_next(s))
        must_exist(c, s, "pool", "pool", ((const struct settings_tenant *)s->data)->pool);
    for (const struct conf_section *s = conf_first(c->conf, "domain"); s; s = conf_next(s))
        must_exist(c, s, "tenant", "tenant", ((const struct settings_domain *)s->data)->tenant);
    for (const struct conf_section *s = conf_first(c->conf, "user"); s; s = conf_next(s))
        must_exist(c, s, "tenant", "tenant", ((const struct settings_sender *)s->data)->tenant);
}

/* Each error of the patterns is one of the settings. */
static void
check_replies(struct checker *c, const struct conf_section *s, struct str path)
{
    struct str text = load(c, s, "replies", path, BUNDLE_FOR_COURIER), rest;
    struct conf_place at = conf_row_place(s, "replies"); /* of many: each is told */
    struct reply_classes *set = NULL;
    struct buf errors CLEANUP(buf_done);

    if (!text.n)
        return;
    buf_init(&errors, 64 << 10);
    (void)reply_classes_compile(&set, text, &errors);
    reply_classes_free(set);
    rest = buf_view(&errors);
    while (rest.n > 0) {
        struct str line = str_cut(rest, '\n', &rest);
        conf_fail(c->errs, at.file, at.line, "replies = %.*s: %.*s", STR_ARG(path), STR_ARG(line));
    }
}

static void
check_routes(struct checker *c)
{
    for (const struct conf_section *s = conf_first(c->conf, "route"); s; s = conf_next(s)) {
        const struct settings_route *r = s->data;
        must_exist(c, s, "pool", "pool", r->pool);
        load(c, s, "password_file", r->password_file, BUNDLE_FOR_COURIER);
    }
    const struct conf_section *s = conf_first(c->conf, "delivery");
    load(c, s, "tls_ca", ((const struct settings_delivery *)s->data)->tls_ca, BUNDLE_FOR_COURIER);
    check_replies(c, s, ((const struct settings_delivery *)s->data)->replies);
    s = conf_first(c->conf, "srs");
    load(c, s, "secret", ((const struct settings_srs *)s->data)->secret, BUNDLE_FOR_GATE);
    s = conf_first(c->conf, "verify");
    load(c, s, "psl", ((const struct settings_verify *)s->data)->psl, BUNDLE_FOR_GATE);
    s = conf_first(c->conf, "dns");
    load(c, s, "local_data", ((const struct settings_dns *)s->data)->local_data,
         BUNDLE_FOR_RESOLVER);
    load(c, s, "trust_anchor", ((const struct settings_dns *)s->data)->trust_anchor,
         BUNDLE_FOR_RESOLVER);
}

/* Files that a directory wants: the keeper's sandbox may not reach them. */
static void
check_domains(struct checker *c)
{
    for (const struct conf_section *s = conf_first(c->conf, "domain"); s; s = conf_next(s)) {
        const struct settings_domain *d = s->data;
        load(c, s, "ldap_password", d->ldap_password, BUNDLE_FOR_KEEPER);
        must_read(c, s, "recipient_table", d->recipient_table);
        must_read(c, s, "aliases", d->aliases);
    }
}

static void
profile_exists(struct checker *c, const struct profile_set *set, const struct conf_section *s,
               struct str name)
{
    static struct labels all;
    char hint[96];

    if (!name.n || profile_find(set, name))
        return;
    for (all.n = 0; all.n < MIN(set->n, NEAR_NAMES); all.n++)
        all.names[all.n] = set->items[all.n]->name.p;
    conf_fail_row(c->errs, s, "profile",
                  "%s%s%.*s: `profile` names \"%.*s\", which is neither shipped (standard, strict, "
                  "lenient) nor a block here%s",
                  s->block->name[0] ? s->block->name : "main block", s->label.n ? " " : "",
                  STR_ARG(s->label), STR_ARG(name),
                  conf_hint(conf_nearest(name, label_name, &all, all.n), hint));
}

static void
check_profiles(struct checker *c)
{
    struct profile_set set;
    const struct conf_section *s = conf_first(c->conf, "");

    if (profile_set_build(&set, c->conf, checks_table, checks_count, c->errs) < 0)
        return;
    profile_exists(c, &set, s, ((const struct settings_main *)s->data)->profile);
    for (s = conf_first(c->conf, "domain"); s; s = conf_next(s))
        profile_exists(c, &set, s, ((const struct settings_domain *)s->data)->profile);
    for (s = conf_first(c->conf, "tenant"); s; s = conf_next(s))
        profile_exists(c, &set, s, ((const struct settings_tenant *)s->data)->profile);
    profile_set_done(&set);
}

static void
check_main_block(struct checker *c)
{
    const struct settings_main *m = conf_get(c->conf, "");
    const struct conf_section *s = conf_first(c->conf, "");
    if (str_eq(m->user, STR("root")))
        conf_fail_row(c->errs, s, "user",
                      "user root: roles that talk to strangers need a user without rights; name "
                      "another, or leave the setting out");
}

static const char *
check_name(const void *ctx UNUSED, size_t i)
{
    return checks_table[i]->name;
}

/* Blocks `check NAME`: NAME is a row of the table of checks. */
static void
check_check_names(struct checker *c)
{
    for (const struct conf_section *s = conf_first(c->conf, "check"); s; s = conf_next(s)) {
        char hint[96];
        size_t i = 0;

        while (i < checks_count && !str_eq(s->label, str_c(checks_table[i]->name)))
            i++;
        if (i == checks_count)
            conf_fail(c->errs, s->file, s->line, "there is no check \"%.*s\"%s", STR_ARG(s->label),
                      conf_hint(conf_nearest(s->label, check_name, NULL, checks_count), hint));
    }
}

static int
mode_of(const struct checker *c, const char *name)
{
    const struct conf_section *s = conf_find(c->conf, "check", str_c(name));
    const struct settings_verify *v = conf_get(c->conf, "verify");

    if (s)
        return ((const struct settings_check *)s->data)->mode;
    return v->mode == VERIFY_OFF ? CHECK_OFF : CHECK_ON;
}

/* What is not looked at proves nobody. */
static void
check_require(struct checker *c)
{
    static const char *const needed[] = {"spf", "dkim", "alignment"};
    const struct settings_main *m = conf_get(c->conf, "");

    for (size_t i = 0; i < ARRAY_LEN(needed) && m->require == REQUIRE_AUTHENTICATED; i++) {
        if (mode_of(c, needed[i]) != CHECK_OFF)
            continue;
        conf_fail_row(c->errs, conf_first(c->conf, ""), "require",
                      "require = authenticated needs the check %s, which is off: put it on, or say "
                      "require = observe",
                      needed[i]);
        return;
    }
}

/* A tenant's number is who it is in the log. */
static void
check_tenants(struct checker *c)
{
    struct map seen CLEANUP(map_done) = {0};

    map_init(&seen, TENANTS_MAX, false);
    for (const struct conf_section *s = conf_first(c->conf, "tenant"); s; s = conf_next(s)) {
        const struct settings_tenant *t = s->data;
        struct str key = arena_fmt(&c->files->arena, "%llu", (unsigned long long)t->number);
        const struct conf_section *other = map_get(&seen, key);

        if (conf_row_place(s, "number").line == s->line)
            continue;
        if (other)
            conf_fail_row(c->errs, s, "number",
                          "two tenants have number %.*s, %.*s and %.*s: numbers are unique",
                          STR_ARG(key), STR_ARG(other->label), STR_ARG(s->label));
        else if (map_put(&seen, key, (void *)(uintptr_t)s) < 0)
            return; /* the gate's own check ends with the same */
    }
}

static struct str
file_for_gate(void *ctx, struct str path)
{
    struct checker *c = ctx;
    for (size_t i = 0; i < c->files->n; i++)
        if (str_eq(c->files->items[i].path, path))
            return c->files->items[i].text;
    return STR_NONE;
}

/* The largest records that gate and courier make must fit a batch: one that does not is refused
 * each time it is tried. */
static void
check_spool(struct checker *c)
{
    const struct settings_spool *sp = conf_get(c->conf, "spool");
    const struct settings_delivery *d = conf_get(c->conf, "delivery");
    const struct conf_section *s = conf_first(c->conf, "spool");
    uint64_t report = MAX(d->dsn_max_original, DELIVERY_REPORT_HEADER) + DELIVERY_REPORT_HEAD +
                      DELIVERY_REPORT_TEXT;
    uint64_t least = MAX(report, BODY_WHOLE + SPOOL_UNIT), room = settings_spool_room(sp);
    uint64_t ring = 1u << 20;
    char have[32], want[32], rings[32], original[32];

    if (room >= least)
        return;
    while (ring < 4 * least)
        ring *= 2;
    s = s ? s : conf_first(c->conf, "");
    conf_fail(c->errs, s->file, s->line,
              "block `spool`: a batch has room for %s (the least of max_batch, a quarter of the "
              "ring, and a segment without its header), and one piece of mail or a report to a "
              "sender takes %s with delivery.dsn_max_original %s: raise max_batch, and ring to %s "
              "or more, or lower dsn_max_original",
              str_show_size(room, have), str_show_size(least, want),
              str_show_size(d->dsn_max_original, original), str_show_size(ring, rings));
}

/* What the gate would refuse later is refused now, by the gate's own code. */
static void
check_gate(struct checker *c)
{
    struct why why = {{0}};
    struct setup *setup = NULL;
    const struct gate_links links = {
        .file = file_for_gate, .file_ctx = c, .checks = checks_table, .nchecks = checks_count};
    const struct conf_section *s = conf_first(c->conf, "");
    if (!c->errs->n && setup_create(&setup, &links, c->conf, &why))
        conf_fail(c->errs, s->file, s->line, "%s", why.text);
    setup_unref(setup);
}

void
check_conf(const struct conf *conf, struct check_files *files, struct conf_errors *errs)
{
    struct checker c = {conf, files, errs};
    arena_init(&files->arena, 64u << 20);
    check_main_block(&c);
    check_check_names(&c);
    check_require(&c);
    check_tenants(&c);
    check_listens(&c);
    check_pools(&c);
    check_domains(&c);
    check_routes(&c);
    check_profiles(&c);
    check_spool(&c);
    check_gate(&c);
}
