/*
 * lab/mailbox.c - the last messages of each folder, as files.
 *
 * Called by provider.c. Never the truth about anything: that is the gateway's log.
 */
#include "lab/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static int
folder(const char *path, struct why *why)
{
    int fd;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return why_set(why, -errno, "cannot make the folder %.150s: %s", path, err_text(-errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0
               ? fd
               : why_set(why, -errno, "cannot open the folder %.150s: %s", path, err_text(-errno));
}

int
mailbox_open(struct mailbox *m, const char *dir, struct str provider, uint64_t keep,
             struct why *why)
{
    static const char *const parts[] = {"", "/inbox", "/spam"};
    int fds[ARRAY_LEN(parts)] = {-1, -1, -1};
    char path[PATH_MAX];

    *m = (struct mailbox){.inbox = -1, .spam = -1, .keep = keep};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        str_fmt(path, sizeof(path), "%s/%.*s%s", dir, STR_ARG(provider), parts[i]);
        fds[i] = folder(path, why);
    }
    fd_close(&fds[0]);
    m->inbox = fds[1];
    m->spam = fds[2];
    return m->inbox >= 0 && m->spam >= 0 ? 0 : MIN(m->inbox, m->spam);
}

void
mailbox_close(struct mailbox *m)
{
    fd_close(&m->inbox);
    fd_close(&m->spam);
}

void
mailbox_put(struct mailbox *m, bool spam, struct str head, struct str message)
{
    char name[32];

    if (!m->keep)
        return;
    str_fmt(name, sizeof(name), "%02llu.eml", 1 + (unsigned long long)(m->count[spam]++ % m->keep));
    CLEANUP(fd_close)
    int fd = openat(spam ? m->spam : m->inbox, name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && write(fd, head.p, head.n) == (ssize_t)head.n)
        (void)!write(fd, message.p, message.n);
}
