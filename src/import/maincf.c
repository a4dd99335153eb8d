/*
 * import/maincf.c - the grammar of Postfix's files.
 *
 * Called by postfix.c and its parts. Nothing is run and no database is opened: tables are read from
 * the text that they were made of.
 */
#include "import/maincf.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"

#define FILE_MAX  (16u << 20)
#define VALUE_MAX (1u << 20)
#define DEPTH_MAX 16u
#define STEPS_MAX 10000u /* names in one value, with those in their values */
#define ARENA_MAX (256u << 20)

/* What other values commonly name, or what means something when it is left out (Postfix 3.7). */
static const char *const defaults[][2] = {
    {"mydomain", ""},
    {"myorigin", "$myhostname"},
    {"mydestination", "$myhostname, localhost.$mydomain, localhost"},
    {"config_directory", "/etc/postfix"},
    {"queue_directory", "/var/spool/postfix"},
    {"data_directory", "/var/lib/postfix"},
    {"daemon_directory", "/usr/lib/postfix/sbin"},
    {"command_directory", "/usr/sbin"},
    {"mail_name", "Postfix"},
    {"inet_interfaces", "all"},
    {"inet_protocols", "all"},
    {"message_size_limit", "10240000"},
    {"relay_domains", ""},
    {"virtual_alias_maps", "$virtual_maps"},
    {"virtual_alias_domains", "$virtual_alias_maps"},
    {"virtual_mailbox_domains", "$virtual_mailbox_maps"},
    {"virtual_transport", "virtual"},
    {"local_transport", "local:$myhostname"},
    {"relay_transport", "relay"},
    {"default_transport", "smtp"},
    {"local_recipient_maps", "proxy:unix:passwd.byname $alias_maps"},
    {"smtpd_tls_key_file", "$smtpd_tls_cert_file"},
    {"default_database_type", "hash"},
    {"smtpd_relay_restrictions",
     "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"},
};

int
maincf_file(struct arena *arena, struct str path, struct str *ret)
{
    char name[4096];
    CLEANUP(fd_close) int fd = -1;
    struct stat st;
    size_t at = 0;
    char *p;

    *ret = STR_NONE;
    if (!str_copy(path, name, sizeof(name)))
        return -ENAMETOOLONG;
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EISDIR;
    if (st.st_size > FILE_MAX)
        return ERR_LIMIT;
    p = arena_alloc(arena, (size_t)st.st_size + 1);
    if (!p)
        return ERR_NOMEM;
    while (at < (size_t)st.st_size) {
        ssize_t n = read(fd, p + at, (size_t)st.st_size - at);

        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    *ret = str_of(p, at);
    return 0;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str
trim_end(struct str s)
{
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool
maincf_line(struct arena *arena, struct str *rest, struct str *ret)
{
    *ret = STR_NONE;
    while (rest->n) {
        struct str tail, line = trim_end(str_cut(*rest, '\n', &tail)), text = str_trim(line);
        bool blank = !text.n || text.p[0] == '#', more = line.n && is_space(line.p[0]);

        if (!blank && !more && ret->n)
            return true; /* the next one begins; it stays in *rest */
        *rest = tail;
        if (!blank)
            *ret = ret->n ? arena_fmt(arena, "%.*s %.*s", STR_ARG(*ret), STR_ARG(text))
                          : arena_str(arena, text);
    }
    return ret->n > 0;
}

struct str
maincf_word(struct str *rest)
{
    size_t start = 0, i;
    unsigned depth = 0;

    while (start < rest->n && (is_space(rest->p[start]) || rest->p[start] == ','))
        start++;
    for (i = start; i < rest->n; i++) {
        char c = rest->p[i];

        depth += c == '{';
        depth -= c == '}' && depth;
        if (!depth && (is_space(c) || c == ','))
            break;
    }
    struct str word = str_sub(*rest, start, i - start);
    *rest = str_from(*rest, i);
    return word;
}

static void
maincf_put(struct maincf *m, struct str name, struct str value, bool given)
{
    struct maincf_value *v = map_get(&m->values, name);

    if (!v) {
        v = ARENA_NEW(&m->arena, struct maincf_value);
        if (!v)
            return;
        v->name = arena_str(&m->arena, name);
        if (map_put(&m->values, v->name, v) < 0)
            return;
    }
    v->text = arena_str(&m->arena, value);
    if (given && !v->given) {
        v->given = true;
        *m->last = v;
        m->last = &v->next;
    }
}

/* ---- expansion ---- */

static void expand(struct maincf *, struct buf *out, struct str text, unsigned depth);

/* "{text}" or text. */
static struct str
unbraced(struct str s)
{
    s = str_trim(s);
    return s.n >= 2 && s.p[0] == '{' && s.p[s.n - 1] == '}' ? str_sub(s, 1, s.n - 2) : s;
}

/* What stands between the braces of ${...}. */
static void
expand_braced(struct maincf *m, struct buf *out, struct str in, unsigned depth)
{
    size_t n = 0, i;
    unsigned open = 0;
    struct str name, then, otherwise = STR_NONE;
    const struct maincf_value *v;
    char mark;

    m->steps -= m->steps > 0;
    while (n < in.n && in.p[n] != '?' && in.p[n] != ':')
        n++;
    name = str_trim(str_sub(in, 0, n));
    v = map_get(&m->values, name);
    if (n == in.n) {
        if (v)
            expand(m, out, v->text, depth + 1);
        return;
    }
    mark = in.p[n];
    then = str_from(in, n + 1);
    for (i = 0; mark == '?' && i < then.n; i++) { /* the : between two texts in braces */
        open += then.p[i] == '{';
        open -= then.p[i] == '}' && open;
        if (!open && then.p[i] == ':' && i && then.p[0] == '{') {
            otherwise = str_from(then, i + 1);
            then = str_sub(then, 0, i);
            break;
        }
    }
    if ((v && v->text.n) != (mark == '?'))
        then = otherwise;
    expand(m, out, unbraced(then), depth + 1);
}

static size_t
closing(struct str text, size_t at, char open, char close)
{
    unsigned depth = 0;

    for (; at < text.n; at++) {
        depth += text.p[at] == open;
        if (text.p[at] == close && --depth == 0)
            return at;
    }
    return text.n;
}

static void
expand(struct maincf *m, struct buf *out, struct str text, unsigned depth)
{
    for (size_t i = 0; i < text.n && depth < DEPTH_MAX && m->steps && !out->failed; i++) {
        size_t end = i + 1;
        char c = text.p[i], next = i + 1 < text.n ? text.p[i + 1] : 0;

        if (c != '$') {
            buf_char(out, c);
        } else if (next == '$') {
            buf_char(out, '$');
            i++;
        } else if (next == '{' || next == '(') {
            end = closing(text, i + 1, next, next == '{' ? '}' : ')');
            expand_braced(m, out, str_sub(text, i + 2, end - i - 2), depth);
            i = end;
        } else {
            while (end < text.n &&
                   (text.p[end] == '_' || (unsigned)((text.p[end] | 32) - 'a') < 26u ||
                    (unsigned)(text.p[end] - '0') < 10u))
                end++;
            expand_braced(m, out, str_sub(text, i + 1, end - i - 1), depth);
            i = end - 1;
        }
    }
}

struct str
maincf_get(struct maincf *m, const char *name)
{
    CLEANUP(buf_done) struct buf out = {0};
    struct maincf_value *v = map_get(&m->values, str_c(name));

    if (!v)
        return STR_NONE;
    v->used = true;
    buf_init(&out, VALUE_MAX);
    m->steps = STEPS_MAX;
    expand(m, &out, v->text, 0);
    if (!m->steps ||
        out.failed) { /* half a value is none; import_rest() says that nobody took it */
        v->used = false;
        return STR_NONE;
    }
    return str_trim(arena_str(&m->arena, buf_view(&out)));
}

bool
maincf_given(const struct maincf *m, const char *name)
{
    const struct maincf_value *v = map_get(&m->values, str_c(name));

    return v && v->given;
}

/* ---- the file ---- */

static void
host_defaults(struct maincf *m)
{
    char host[256] = "localhost";
    struct str name;
    ssize_t dot;

    (void)gethostname(host, sizeof(host) - 1);
    if (!strchr(host, '.'))
        str_fmt(host + strlen(host), sizeof(host) - strlen(host), ".localdomain");
    if (!map_get(&m->values, STR("myhostname")))
        maincf_put(m, STR("myhostname"), str_c(host), false);
    name = maincf_get(m, "myhostname");
    dot = str_chr(name, '.');
    if (!map_get(&m->values, STR("mydomain")))
        maincf_put(m, STR("mydomain"),
                   dot < 0 ? STR("localdomain") : str_from(name, (size_t)dot + 1), false);
}

int
maincf_read(struct maincf *m, const char *dir, struct why *why)
{
    struct str text, line, path;
    int rc;

    *m = (struct maincf){.last = &m->first};
    arena_init(&m->arena, ARENA_MAX);
    map_init(&m->values, 100000, false);
    m->dir = arena_str(&m->arena, str_c(dir));
    path = arena_fmt(&m->arena, "%s/main.cf", dir);
    rc = maincf_file(&m->arena, path, &text);
    if (rc < 0)
        return why_set(why, rc, "cannot read %.*s: %s", STR_ARG(path), err_text(rc));
    while (maincf_line(&m->arena, &text, &line)) {
        struct str value, name = str_trim(str_cut(line, '=', &value));

        if (name.n && name.n < line.n)
            maincf_put(m, name, str_trim(value), true);
    }
    host_defaults(m);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (!map_get(&m->values, str_c(defaults[i][0])))
            maincf_put(m, str_c(defaults[i][0]), str_c(defaults[i][1]), false);
    return 0;
}

void
maincf_done(struct maincf *m)
{
    map_done(&m->values);
    arena_done(&m->arena);
}
