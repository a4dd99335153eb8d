/*
 * core/conf_load.c - reads a settings file and all that it includes into memory.
 *
 * Called by the supervisor and by `gapura check`. Never looks at rows; that is conf_parse.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/conf_inner.h"
#include "core/err.h"

/* The files that are being read, innermost first. */
struct open_file {
    const struct open_file *outer;
    struct str path;
    dev_t dev;
    ino_t ino;
};

struct loader {
    struct conf_texts *texts;
    struct conf_errors *errs;
    size_t bytes;
};

struct str
conf_line(struct str *rest)
{
    struct str line = str_cut(*rest, '\n', rest);

    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

bool
conf_is_include(struct str line, struct str *ret_value)
{
    struct str s = str_trim(line);
    struct str word = STR("include");

    if (!str_starts(s, word))
        return false;
    s = str_from(s, word.n);
    if (s.n && conf_is_name_char(s.p[0]))
        return false;
    s = str_trim(s);
    if (s.n && (s.p[0] == '=' || s.p[0] == '{'))
        return false;
    *ret_value = s;
    return true;
}

static struct str
conf_directory(struct str file)
{
    ssize_t slash = str_rchr(file, '/');

    return slash < 0 ? STR_NONE : str_of(file.p, (size_t)slash + 1);
}

struct str
conf_relative(struct arena *arena, struct str file, struct str path)
{
    struct str dir = conf_directory(file);
    char *joined;

    if (path.n == 0 || path.p[0] == '/' || dir.n == 0)
        return arena_str(arena, path);
    joined = arena_alloc(arena, dir.n + path.n + 1);
    if (!joined)
        return STR_NONE;
    memcpy(joined, dir.p, dir.n);
    memcpy(joined + dir.n, path.p, path.n);
    return str_of(joined, dir.n + path.n);
}

struct str
conf_pattern(struct arena *arena, struct str file, struct str pattern)
{
    struct str dir = conf_directory(file);
    char *joined;
    size_t n = 0;

    if (pattern.n == 0 || pattern.p[0] == '/')
        return arena_str(arena, pattern);
    joined = arena_alloc(arena, 2 * dir.n + pattern.n + 1);
    if (!joined)
        return STR_NONE;
    for (size_t i = 0; i < dir.n; i++) {
        if (str_chr(STR("*?[]\\"), dir.p[i]) >= 0)
            joined[n++] = '\\';
        joined[n++] = dir.p[i];
    }
    memcpy(joined + n, pattern.p, pattern.n);
    return str_of(joined, n + pattern.n);
}

/* Reads an open file of `size` bytes, or less if it has shrunk meanwhile. */
static int
read_whole(int fd, char *dst, size_t size, size_t *ret_n)
{
    size_t n = 0;

    while (n < size) {
        ssize_t r = read(fd, dst + n, size - n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    *ret_n = n;
    return 0;
}

static int
load_text(struct loader *l, const struct conf_scope *from, struct open_file *file,
          struct conf_text **ret)
{
    CLEANUP(fd_close) int fd = open(file->path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct conf_text *item;
    struct stat st;
    char *text;
    size_t n = 0;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return conf_scope_fail(from, "cannot read `%.*s`: %s", CONF_SHOWN(file->path),
                               err_text(-errno));
    if (!S_ISREG(st.st_mode))
        return conf_scope_fail(from, "`%.*s` is not a regular file", CONF_SHOWN(file->path));
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    for (const struct open_file *f = file->outer; f; f = f->outer)
        if (f->dev == file->dev && f->ino == file->ino)
            return conf_scope_fail(from, "`%.*s` includes itself; remove one of the includes",
                                   CONF_SHOWN(file->path));
    if (l->texts->n >= ARRAY_LEN(l->texts->items))
        return conf_scope_fail(from, "more than %d files", CONF_FILES_MAX);
    if ((uint64_t)st.st_size > CONF_BYTES_MAX - l->bytes)
        return conf_scope_fail(from, "`%.*s` makes the settings larger than 16 MB",
                               CONF_SHOWN(file->path));
    text = arena_alloc(&l->texts->arena, (size_t)st.st_size + 1);
    if (!text)
        return conf_scope_fail(from, "out of memory");
    r = read_whole(fd, text, (size_t)st.st_size, &n);
    if (r < 0)
        return conf_scope_fail(from, "cannot read `%.*s`: %s", CONF_SHOWN(file->path), err_text(r));
    l->bytes += n;
    item = &l->texts->items[l->texts->n++];
    *item = (struct conf_text){.path = file->path, .text = str_of(text, n)};
    *ret = item;
    return 0;
}

static void load_file(struct loader *l, const struct conf_scope *from,
                      const struct open_file *outer, struct str path, unsigned depth);

/* A plain name must exist; a pattern may match nothing. */
static void
load_include(struct loader *l, const struct conf_scope *at, const struct open_file *outer,
             struct str value, unsigned depth)
{
    struct conf_items items;
    struct str pattern;
    glob_t found = {0};
    int r;

    if (conf_items_parse(at, value, &items) < 0)
        return;
    if (items.n != 1 || items.items[0].text.n == 0) {
        conf_scope_fail(at, "include takes one file or pattern: include \"conf.d/*.conf\"");
        return;
    }
    if (depth >= CONF_DEPTH_MAX) {
        conf_scope_fail(at, "includes are nested deeper than %d files", CONF_DEPTH_MAX);
        return;
    }
    pattern = conf_pattern(at->arena, at->file, items.items[0].text);
    if (!pattern.p || str_chr(pattern, '\0') >= 0) {
        conf_scope_fail(at, "out of memory");
        return;
    }
    r = glob(pattern.p, 0, NULL, &found); /* sorts */
    if (r == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            struct str path = arena_str(at->arena, str_c(found.gl_pathv[i]));

            if (path.p)
                load_file(l, at, outer, path, depth + 1);
            else
                conf_scope_fail(at, "out of memory");
        }
    } else if (r != GLOB_NOMATCH) {
        conf_scope_fail(at, "cannot search for `%.*s`", CONF_SHOWN(pattern));
    } else if (strpbrk(items.items[0].text.p, "*?[") == NULL) {
        conf_scope_fail(at, "there is no file `%.*s`", CONF_SHOWN(pattern));
    }
    globfree(&found);
}

static void
load_file(struct loader *l, const struct conf_scope *from, const struct open_file *outer,
          struct str path, unsigned depth)
{
    struct open_file file = {.outer = outer, .path = path};
    struct conf_scope at = {.arena = &l->texts->arena, .errs = l->errs, .file = path};
    struct conf_text *item = NULL;
    struct str rest, value;

    if (load_text(l, from, &file, &item) < 0 || !item)
        return;
    rest = item->text;
    while (rest.n) {
        struct str line = conf_line(&rest);

        at.line++;
        if (conf_is_include(line, &value))
            load_include(l, &at, &file, value, depth);
    }
}

void
conf_load(struct conf_texts *ret, const char *path, struct conf_errors *errs)
{
    struct loader l = {.texts = ret, .errs = errs};
    struct conf_scope from = {.arena = &ret->arena, .errs = errs};

    ret->n = 0;
    arena_init(&ret->arena, CONF_ARENA_MAX);
    from.file = arena_str(&ret->arena, str_c(path));
    if (!from.file.p) {
        conf_scope_fail(&from, "out of memory");
        return;
    }
    load_file(&l, &from, NULL, from.file, 0);
}

void
conf_texts_done(struct conf_texts *t)
{
    arena_done(&t->arena);
    t->n = 0;
}
