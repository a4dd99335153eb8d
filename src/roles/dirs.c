/*
 * roles/dirs.c - makes directories and control sockets, as root where we are root.
 *
 * Called by the supervisor before any role runs. Paths are the administrator's; nothing here
 * follows what a role has written.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/stream.h"
#include "roles/dirs.h"
#include "roles/sandbox.h"
#include "store/seal.h"

/* Its name must outlive a power loss, or what is in it is lost with it. 0, -errno. */
static int
sync_above(const char *path)
{
    char up[512];
    ssize_t slash = str_rchr(str_c(path), '/');
    if (!str_copy(slash < 0    ? STR(".")
                  : slash == 0 ? STR("/")
                               : str_sub(str_c(path), 0, (size_t)slash),
                  up, sizeof up))
        return -ENAMETOOLONG;
    CLEANUP(fd_close) int fd = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : -errno; /* somebody else's, made long ago */
    return fsync(fd) && errno != EINVAL && errno != EROFS ? -errno : 0;
}

/* What a new file system begins with is nobody's thing. */
static bool
is_empty(int fd)
{
    bool empty = true;
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = own < 0 ? NULL : fdopendir(own);
    const struct dirent *e;

    if (!d) {
        fd_close(&own);
        return false;
    }
    while (empty && (e = readdir(d)) != NULL)
        empty =
            !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, "lost+found");
    closedir(d);
    return empty;
}

/* May owner and mode of a directory that was there be changed? Of ours, and of one that somebody
 * made for us and nobody has used; never of /var/lib or /tmp, whatever the settings name. */
static bool
is_for_us(int fd, const struct children *c)
{
    struct stat st;

    if (fstat(fd, &st))
        return false;
    for (unsigned i = ROLE_SUPERVISOR + 1; i < ROLE_MAX_; i++)
        if (st.st_uid == c->uids[i] || st.st_uid == children_uid_fallback(i))
            return true;
    return st.st_uid == 0 && is_empty(fd);
}

/* Made with its parents if it is not there; one that holds others' things stays as it is. */
static int
make_dir(const char *path, unsigned mode, const struct children *c, unsigned uid, unsigned gid,
         struct why *why)
{
    char part[512];
    if (!str_copy(str_c(path), part, sizeof part))
        return why_set(why, -ENAMETOOLONG, "%s: too long", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (!mkdir(part, 0755)) {
            (void)chmod(part, 0755); /* whatever the umask: roles must get through */
            int rc = sync_above(part);
            if (rc)
                return why_set(why, rc, "cannot sync the name of %s: %s", part, err_text(rc));
        }
        *p = '/';
    }
    bool made = !mkdir(path, mode);
    if (!made && errno != EEXIST)
        return why_set(why, -errno, "cannot make %s: %s", path, err_text(-errno));
    int rc = sync_above(path); /* of a start that was cut short too */
    if (rc)
        return why_set(why, rc, "cannot sync the name of %s: %s", path, err_text(rc));
    if (geteuid())
        return 0;
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return why_set(why, -errno, "cannot open %s: %s", path, err_text(-errno));
    if ((made || is_for_us(fd, c)) && (fchown(fd, uid, gid) || fchmod(fd, mode)))
        return why_set(why, -errno, "cannot give %s to uid %u: %s", path, uid, err_text(-errno));
    return 0;
}

/* Asked of the kernel as that user: parents, ACLs and mounts count as well. 0 or -errno. */
static int
try_rights(const struct children *c, enum role_id id, const char *path, int rights)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        int rc = sandbox_user(c->uids[id], c->gid, NULL);

        errno = -rc;
        _exit(rc || access(path, rights) ? errno & 0xff : 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 0; /* not known: the role itself will tell */
    return -WEXITSTATUS(status);
}

static const char *
user_show(unsigned uid, char dst[96])
{
    const struct passwd *pw = getpwuid(uid);

    if (pw)
        str_fmt(dst, 96, "%s", pw->pw_name);
    else
        str_fmt(dst, 96, "uid %u", uid);
    return dst;
}

/* A role that could not work there would be started for ever. `cure`: the words of chown(1). */
static int
check_rights(const struct children *c, enum role_id id, const char *path, int rights,
             const char *cure, struct buf *story)
{
    int rc = try_rights(c, id, path, rights);
    char owner[96], user[96];
    struct stat st;

    if (!rc)
        return 0;
    buf_fmt(story, "%s (%s) cannot %s in the directory %s: %s. ", role_table[id].name,
            user_show(c->uids[id], user), rights & W_OK ? "write" : "read", path, err_text(rc));
    if (stat(path, &st) || st.st_uid == c->uids[id])
        buf_fmt(story,
                "It is its own: a directory above keeps it out (`namei -l %s` shows which), or it "
                "is mounted so",
                path);
    else
        buf_fmt(story,
                "It belongs to %s, mode %04o, and is not Gapura's, so it was left as it is. Name a "
                "directory for Gapura alone: it is made and given to its user. If this one is: "
                "chown %s",
                user_show(st.st_uid, owner), (unsigned)st.st_mode & 07777, cure);
    return rc;
}

static bool
dir_of(const char *path, char *dst, size_t cap)
{
    ssize_t slash = str_rchr(str_c(path), '/');
    return slash > 0 && str_copy(str_sub(str_c(path), 0, (size_t)slash), dst, cap);
}

int
dirs_lock(const struct plan *p, const struct children *c, int *ret_lock, struct why *why)
{
    char path[600];
    /* Nobody may list it. Control sockets have a mode of their own; a listener's may be for all. */
    int rc = make_dir(p->control_dir, 0751, c, 0, c->admin_gid, why);
    if (rc)
        return rc;
    str_fmt(path, sizeof path, "%s/lock", p->control_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return why_set(why, -errno, "cannot open %s: %s", path, err_text(-errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return why_set(why, ERR_EXISTS,
                       "another Gapura runs with control.dir %s; it is left alone. Stop it first, "
                       "or give this one directories of its own",
                       p->control_dir);
    }
    *ret_lock = fd;
    return 0;
}

/* An own directory is made; one that is there is the administrator's and stays as it is. */
int
dirs_make_events(const struct plan *p, const struct children *c, struct why *why)
{
    char dir[512];
    struct stat st;
    if (!dir_of(p->events_file, dir, sizeof dir) || !stat(dir, &st))
        return 0;
    return make_dir(dir, 0750, c, 0, c->admin_gid, why);
}

static int
make_roles_dirs(const struct plan *p, const struct children *c, const char *store, struct why *why)
{
    int rc = make_dir(p->spool_dir, 0750, c, c->uids[ROLE_SPOOLER], c->gid, why);

    if (!rc && store[0])
        rc = make_dir(store, 0750, c, c->uids[ROLE_KEEPER], c->gid, why);
    return rc;
}

static int
check_spool(const struct plan *p, const struct children *c, struct buf *story)
{
    char cure[700];

    str_fmt(cure, sizeof cure, "-R %u:%u %s", c->uids[ROLE_SPOOLER], c->gid, p->spool_dir);
    int rc = check_rights(c, ROLE_SPOOLER, p->spool_dir, R_OK | W_OK | X_OK, cure, story);
    return rc ? rc : check_rights(c, ROLE_COURIER, p->spool_dir, R_OK | X_OK, cure, story);
}

static int
check_store(const struct plan *p, const struct children *c, const char *dir, struct buf *story)
{
    char cure[1200];

    /* Not all of it: the master key stays root's. */
    str_fmt(cure, sizeof cure, "%u:%u %s %s*", c->uids[ROLE_KEEPER], c->gid, dir, p->store);
    return check_rights(c, ROLE_KEEPER, dir, R_OK | W_OK | X_OK, cure, story);
}

int
dirs_make(const struct plan *p, const struct children *c, struct buf *story)
{
    char dir[512] = "";
    struct why why = {{0}};

    (void)dir_of(p->store, dir, sizeof dir);
    int rc = make_roles_dirs(p, c, dir, &why);
    buf_c(story, why.text);
    /* After both were made: one of them may be in the other. */
    if (!rc)
        rc = check_spool(p, c, story);
    if (!rc && dir[0])
        rc = check_store(p, c, dir, story);
    return rc;
}

/* One that a start would leave as it is. */
static bool
stays(const struct children *c, const char *path)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && !is_for_us(fd, c);
}

int
dirs_look_spool(const struct plan *p, const struct children *c, struct buf *story)
{
    return stays(c, p->spool_dir) ? check_spool(p, c, story) : 0;
}

int
dirs_look_store(const struct plan *p, const struct children *c, struct buf *story)
{
    char dir[512];

    if (!dir_of(p->store, dir, sizeof dir))
        return 0;
    return stays(c, dir) ? check_store(p, c, dir, story) : 0;
}

/* In the directory of the keeper, which must not read it: so nothing of what stands there is
 * believed but a plain file that is ours alone. */
static int
master_open(const char *path, struct why *why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
        !(st.st_mode & 077))
        return fd;
    close(fd);
    return why_set(why, ERR_REFUSED,
                   "%s must be a file of user %u that nobody else may read (mode 0600): it is the "
                   "key to all signing keys. Nothing was changed",
                   path, (unsigned)geteuid());
}

/* Whole or not at all: on disk under another name first. */
static int
master_make(const char *dir, const char *path, struct why *why)
{
    char fresh[600], text[SEAL_MASTER_TEXT];
    int rc = seal_master_make(text);
    str_fmt(fresh, sizeof fresh, "%s.new", path);
    unlink(fresh);
    CLEANUP(fd_close) int fd = rc ? -1 : open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CLEANUP(fd_close) int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!rc && (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) ||
                rename(fresh, path) || folder < 0 || fsync(folder)))
        rc = -errno;
    explicit_bzero(text, sizeof text);
    return rc ? why_set(why, rc, "cannot make the master key %s: %s", path, err_text(rc)) : 0;
}

int
dirs_master(const struct plan *p, int *ret_fd, struct why *why)
{
    char dir[512], path[560];
    if (!dir_of(p->store, dir, sizeof dir))
        return why_set(why, ERR_SYNTAX, "control.store %s has no directory", p->store);
    str_fmt(path, sizeof path, "%s/master.key", dir);
    int fd = master_open(path, why);
    if (fd == -ENOENT) {
        int rc = master_make(dir, path, why);
        if (rc)
            return rc;
        fd = master_open(path, why);
    }
    if (fd < 0)
        return fd == ERR_REFUSED
                   ? fd
                   : why_set(why, fd, "cannot open the master key %s: %s", path, err_text(fd));
    *ret_fd = fd;
    return 0;
}

int
dirs_make_control(const struct plan *p, struct children *c, struct why *why)
{
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        char path[700];
        const struct role_row *row = &role_table[i];
        if (i == ROLE_DESK || (i != ROLE_SUPERVISOR && !(row->ops && row->ops->verb)))
            continue;
        str_fmt(path, sizeof path, "%s/%s.ctl", p->control_dir, row->name);
        unlink(path);
        int fd = listener_bind_unix(path, 0660);
        if (fd < 0)
            return why_set(why, fd, "cannot bind %s: %s", path, err_text(fd));
        /* Desk has no verbs of its own: it answers the supervisor's, and asks over its channel. */
        c->of[i == ROLE_SUPERVISOR ? ROLE_DESK : i].control_fd = fd;
        if (geteuid() == 0 && chown(path, 0, c->admin_gid))
            return why_set(why, -errno, "cannot give %s away: %s", path, err_text(-errno));
    }
    return 0;
}
