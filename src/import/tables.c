/*
 * import/tables.c - tables that parameters name, read from their text; files beside the settings.
 *
 * Called by the parts of the importer. hash:FILE and its kin are read from FILE, not from the
 * database that postmap made of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "import/inner.h"

static bool
is_text(struct str type)
{
    static const char *const types[] = {"hash", "texthash", "lmdb", "btree", "dbm", "cdb", "cidr"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_c(types[i])))
            return true;
    return false;
}

static struct entry *
entry_new(struct import *im, struct str key, struct str value)
{
    struct entry *e = ARENA_NEW(&im->cf.arena, struct entry);

    if (!e) {
        im->status = 1;
        return NULL;
    }
    char *p = (char *)(uintptr_t)arena_str(&im->cf.arena, key).p;

    if (p)
        str_lower(p, key.n);
    e->key = str_of(p, p ? key.n : 0);
    e->value = value;
    return e;
}

static void
add(struct import *im, struct entry ***end, struct str key, struct str value)
{
    struct entry *e = entry_new(im, key, value);

    if (!e)
        return;
    **end = e;
    *end = &e->next;
}

static void
read_text(struct import *im, const char *name, struct str path, bool aliases, struct entry ***end)
{
    struct str text, line;
    int rc = maincf_file(&im->cf.arena, path, &text);

    if (rc < 0) {
        note(im, name, "cannot read %.*s: %s", STR_ARG(path), err_text(rc));
        return;
    }
    while (maincf_line(&im->cf.arena, &text, &line)) {
        struct str value, key = line;

        if (aliases && line.p[0] != '"') {
            key = str_trim(str_cut(line, ':', &value));
        } else {
            value = line;
            key = str_word(&value);
        }
        if (key.n)
            add(im, end, key, str_trim(value));
    }
}

struct entry *
tables_read(struct import *im, const char *name, bool aliases)
{
    struct entry *first = NULL, **end = &first;
    struct str rest = maincf_get(&im->cf, name), word;

    while ((word = maincf_word(&rest)).n) {
        struct str path, type = str_cut(word, ':', &path);

        if (str_eq(type, STR("proxy"))) {
            word = path;
            type = str_cut(word, ':', &path);
        }
        if (str_eq(type, STR("unix")) && str_eq(path, STR("passwd.byname")))
            continue;
        if (is_text(type) && path.n)
            read_text(im, name, path, aliases, &end);
        else
            note(im, name,
                 "%.*s: only tables with a text file can be read; list its contents in a text "
                 "table, SQLite or LDAP",
                 STR_ARG(type));
    }
    return first;
}

static void
list_file(struct import *im, const char *name, struct str path, struct entry ***end)
{
    struct str text, line, word;
    int rc = maincf_file(&im->cf.arena, path, &text);

    if (rc < 0)
        note(im, name, "cannot read %.*s: %s", STR_ARG(path), err_text(rc));
    while (rc == 0 && maincf_line(&im->cf.arena, &text, &line))
        while ((word = maincf_word(&line)).n)
            add(im, end, word, STR_NONE);
}

struct entry *
tables_list(struct import *im, const char *name)
{
    struct entry *first = NULL, **end = &first;
    struct str rest = maincf_get(&im->cf, name), word;

    while ((word = maincf_word(&rest)).n) {
        struct str path, type = str_cut(word, ':', &path);

        if (word.p[0] == '/')
            list_file(im, name, word, &end);
        else if (word.p[0] != '[' && path.n && is_text(type))
            read_text(im, name, path, false, &end);
        else if (word.p[0] != '[' && path.n && str_chr(path, '/') >= 0 && type.n > 2 &&
                 str_chr(path, ':') < 0)
            note(im, name, "%.*s: only tables with a text file can be read", STR_ARG(type));
        else
            add(im, &end, word, STR_NONE);
    }
    return first;
}

const struct entry *
tables_find(const struct entry *e, struct str key)
{
    while (e && !str_ieq(e->key, key))
        e = e->next;
    return e;
}

bool
domain_like(struct str s)
{
    bool dot = false;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        dot |= c == '.';
        if (c != '.' && c != '-' && (unsigned)(c - '0') > 9 && (unsigned)((c | 32) - 'a') > 25)
            return false;
    }
    return s.n && s.n < 254 && s.p[0] != '.' && s.p[s.n - 1] != '.' && (dot || s.n > 1);
}

struct str
beside(struct import *im, const char *name, unsigned mode, struct str text)
{
    const char *slash = im->out_file ? strrchr(im->out_file, '/') : NULL;
    size_t done = 0;
    struct str path;
    int fd;

    if (!im->out_file)
        return STR_NONE;
    path = arena_fmt(&im->cf.arena, "%.*s%s", slash ? (int)(slash - im->out_file) + 1 : 0,
                     im->out_file, name);
    if (!path.p)
        return STR_NONE;
    fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        fprintf(stderr, "gapura: cannot write %s: %s\n", path.p, strerror(errno));
        im->status = 1;
        return STR_NONE;
    }
    (void)fchmod(fd, mode);
    while (done < text.n) {
        ssize_t n = write(fd, text.p + done, text.n - done);

        if (n <= 0) {
            fprintf(stderr, "gapura: cannot write %s: %s\n", path.p, strerror(errno));
            im->status = 1;
            break;
        }
        done += (size_t)n;
    }
    close(fd);
    return str_c(name); /* the settings lie in the same directory */
}
