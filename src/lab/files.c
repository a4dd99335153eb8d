/*
 * lab/files.c - writes the lab's data files where they are not yet.
 *
 * Called by lab.c before anything else is done. Never writes over a file.
 */
#include "lab/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"

#define NET  "127.0.0."
#define BACK "0.0.127.in-addr.arpa"

const struct lab_file lab_files[] = {
#include "lab/files.inc"
};
const size_t lab_nfiles = ARRAY_LEN(lab_files);

/* mkdir -p */
static int
make_folders(const char *path, struct why *why)
{
    char part[PATH_MAX];

    for (size_t i = 1; path[i - 1]; i++) {
        if (path[i] && path[i] != '/')
            continue;
        if (!str_copy(str_of(path, i), part, sizeof(part)))
            return why_set(why, ERR_LIMIT, "the path %.100s is too long", path);
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return why_set(why, -errno, "cannot make the directory %.150s: %s", part,
                           err_text(-errno));
    }
    return 0;
}

/* 127.A.B.x for 127.0.0.x, in addresses and in names of addresses. */
static void
put_text(struct buf *b, struct str text, const char *net)
{
    struct str rest = str_c(net), a, m, z;

    a = str_cut(rest, '.', &rest);
    m = str_cut(rest, '.', &rest);
    z = rest;
    while (text.n) {
        if (str_starts(text, STR(NET))) {
            buf_fmt(b, "%s.", net);
            text = str_from(text, sizeof(NET) - 1);
        } else if (str_starts(text, STR(BACK))) {
            buf_fmt(b, "%.*s.%.*s.%.*s.in-addr.arpa", STR_ARG(z), STR_ARG(m), STR_ARG(a));
            text = str_from(text, sizeof(BACK) - 1);
        } else {
            buf_char(b, text.p[0]);
            text = str_from(text, 1);
        }
    }
}

static int
put_file(const char *dir, const struct lab_file *f, const char *net, struct why *why)
{
    CLEANUP(buf_done) struct buf b;
    char path[PATH_MAX];
    ssize_t slash = str_rchr(str_c(f->name), '/');
    int rc = 0;

    if (slash > 0) {
        str_fmt(path, sizeof(path), "%s/%.*s", dir, (int)slash, f->name);
        rc = make_folders(path, why);
    }
    if (rc)
        return rc;
    str_fmt(path, sizeof(path), "%s/%s", dir, f->name);
    CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST)
        return 0;
    buf_init(&b, 1u << 20);
    put_text(&b, str_c(f->text), net);
    if (fd < 0 || b.failed || write(fd, b.p, b.n) != (ssize_t)b.n)
        return why_set(why, fd < 0 || !b.failed ? -errno : ERR_NOMEM, "cannot write %.150s: %s",
                       path, err_text(-errno));
    return 0;
}

int
lab_files_put(const char *dir, const char *net, struct why *why)
{
    static const char *const folders[] = {"", "/mail"};
    char path[PATH_MAX];
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(folders) && !rc; i++) {
        str_fmt(path, sizeof(path), "%s%s", dir, folders[i]);
        rc = make_folders(path, why);
    }
    for (size_t i = 0; i < lab_nfiles && !rc; i++)
        rc = put_file(dir, &lab_files[i], net, why);
    return rc;
}

int
lab_files_reachable(const char *dir, struct why *why)
{
    char part[PATH_MAX];
    struct stat st;

    for (size_t i = 1; geteuid() == 0 && dir[i - 1]; i++) {
        if ((dir[i] && dir[i] != '/') || !str_copy(str_of(dir, i), part, sizeof(part)))
            continue;
        if (stat(part, &st) == 0 && !(st.st_mode & S_IXOTH))
            return why_set(why, ERR_REFUSED,
                           "%.120s is closed to other users, and the gateway's roles are users of "
                           "their own: name a directory elsewhere, for example /var/lib/gapura-lab",
                           part);
    }
    return 0;
}
