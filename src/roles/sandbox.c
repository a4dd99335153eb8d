/*
 * roles/sandbox.c - the profiles: which system calls and which paths a running role keeps.
 *
 * Called once by each role between loading what it needs and touching a stranger's byte. The rows
 * name groups of calls; whatever no group of the profile holds kills the process.
 */
#include "core/openssl.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "roles/sandbox.h"

/* clang-format off */
static const char *const calls_base[] = {
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "pwritev2",
    "close", "fstat", "newfstatat", "lseek", "munmap", "mremap", "madvise", "brk",
    "futex", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time",
    "getrandom", "getpid", "getppid", "gettid", "exit", "exit_group", "getuid", "geteuid",
    "getgid", "getegid", "epoll_wait", "epoll_pwait", "epoll_ctl", "epoll_create1", "eventfd2",
    "timerfd_create", "timerfd_settime", "poll", "ppoll", "select", "pselect6", "pipe2", "sched_yield",
    "sched_getaffinity", "set_robust_list", "rseq", "membarrier", "fdatasync", "fsync", "fcntl",
    "dup", "dup2", "dup3", "sendmsg", "recvmsg", "recvmmsg", "sendmmsg", "sendto", "recvfrom",
    "shutdown", "getsockname", "getpeername", "setsockopt", "getsockopt", "getrusage", "uname",
    "sysinfo", "memfd_create", "ftruncate", "signalfd4", "set_tid_address", "prctl", NULL};
static const char *const calls_accept[] = {"accept4", "accept", NULL};
/* A network of its own: sockets to strangers, or to a directory. */
static const char *const calls_socket[] = {"connect", "bind", "socketpair", NULL};
static const char *const calls_look[] = {"openat", "open", "stat", "lstat", "access", "faccessat",
    "faccessat2", "getdents64", "readlink", "readlinkat", "statx", "fadvise64", "readahead",
    "getcwd", NULL};
static const char *const calls_files[] = {"rename", "renameat", "renameat2", "unlink", "unlinkat",
    "link", "linkat", "mkdir", "mkdirat", "rmdir", "fallocate", "flock", "fchmod", "fchmodat",
    "fchown", "fchownat", "chmod", "chown", "utimensat", "statfs", "fstatfs", "sync_file_range",
    "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "umask", "lchown", NULL};
/* clang-format on */

/* A ceiling on its own time. */
static const char *const calls_limit[] = {"setitimer", NULL};

/* Families that socket() may be asked for. NETLINK and UNIX: getaddrinfo() of directory clients. */
#define INET  1u
#define LOCAL 2u

/* The lab waits for its children, and gives the terminal back. */
static const char *const calls_wait[] = {"wait4", "waitid", NULL};

struct profile {
    const char *name;
    const char *const *groups[6];
    unsigned families;
    bool paths; /* Landlock with the paths given; else no path at all, and no new code either */
};
static const struct profile profiles[] = {
    {"scan", {calls_base, calls_limit}, 0, false},
    {"keyring", {calls_base}, 0, false},
    {"gate", {calls_base, calls_accept}, 0, false},
    {"desk", {calls_base, calls_accept}, 0, false},
    {"resolver", {calls_base, calls_socket, calls_look}, INET, true},
    {"courier",
     {calls_base, calls_accept, calls_socket, calls_look, calls_files},
     INET | LOCAL,
     true},
    {"keeper",
     {calls_base, calls_accept, calls_socket, calls_look, calls_files},
     INET | LOCAL,
     true},
    {"spooler", {calls_base, calls_look, calls_files}, 0, true},
    {"loader", {calls_base, calls_look}, 0, true},
    {"lab",
     {calls_base, calls_accept, calls_socket, calls_look, calls_files, calls_wait},
     INET | LOCAL,
     true},
};

static const struct profile *
profile_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++)
        if (!strcmp(profiles[i].name, name))
            return &profiles[i];
    return NULL;
}

bool
sandbox_exists(const char *profile)
{
    return profile_find(profile) != NULL;
}

int
sandbox_user(unsigned uid, unsigned gid, struct why *why)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return why_set(why, -errno, "no_new_privs: %s", err_text(-errno));
    /* Given by systemd to the supervisor alone (to bind port 25): roles inherit none. */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (geteuid() == uid)
        return 0;
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
        return why_set(why, -errno, "cannot become uid %u, gid %u: %s", uid, gid, err_text(-errno));
    return 0;
}

int
sandbox_reader(unsigned uid, unsigned gid, struct why *why)
{
    bool root = geteuid() == 0 && uid != 0;
    if (root)
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    int rc = sandbox_user(uid, gid, why);
    if (rc || !root)
        return rc;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    data[0].effective = data[0].permitted = 1u << CAP_DAC_READ_SEARCH;
    if (syscall(SYS_capset, &head, data))
        return why_set(why, -errno, "capset: %s", err_text(-errno));
    return 0;
}

bool
sandbox_has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

static int
landlock_enter(const struct sandbox_path *paths, unsigned n, struct why *why)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return 0; /* the kernel has none: seccomp and the user stay */
    const uint64_t read_rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    uint64_t all = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | read_rights |
                   LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                   LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                   LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                   LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                   LANDLOCK_ACCESS_FS_MAKE_SYM;
#ifdef LANDLOCK_ACCESS_FS_REFER
    if (abi >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
#endif
    struct landlock_ruleset_attr attr = {.handled_access_fs = all};
    CLEANUP(fd_close)
    int set = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (set < 0)
        return why_set(why, -errno, "landlock: %s", err_text(-errno));
    for (unsigned i = 0; i < n; i++) {
        if (!paths[i].path)
            continue;
        CLEANUP(fd_close) int fd = open(paths[i].path, O_PATH | O_CLOEXEC);
        if (fd < 0)
            continue;
        uint64_t rights = read_rights;
        if (paths[i].rights & SANDBOX_WRITE)
            rights = all & ~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                             LANDLOCK_ACCESS_FS_MAKE_BLOCK);
        struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
        if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0)) {
            /* A plain file takes file rights only. */
            rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
            if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
                return why_set(why, -errno, "landlock %s: %s", paths[i].path, err_text(-errno));
        }
    }
    if (syscall(SYS_landlock_restrict_self, set, 0))
        return why_set(why, -errno, "landlock: %s", err_text(-errno));
    return 0;
}

static int
allow_group(scmp_filter_ctx ctx, const char *const *group)
{
    for (; *group; group++) {
        int nr = seccomp_syscall_resolve_name(*group);
        if (nr == __NR_SCMP_ERROR || nr < 0)
            continue; /* not on this architecture */
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
        if (rc && rc != -EEXIST)
            return rc;
    }
    return 0;
}

static int
allow_if(scmp_filter_ctx ctx, int nr, struct scmp_arg_cmp cmp)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1, cmp);
    return rc == -EEXIST ? 0 : rc;
}

/* Calls that are harmless with some arguments only. */
static int
allow_limited(scmp_filter_ctx ctx, const struct profile *p)
{
    static const struct {
        int family;
        unsigned in;
    } families[] = {{AF_INET, INET}, {AF_INET6, INET}, {AF_UNIX, LOCAL}, {AF_NETLINK, LOCAL}};
    /* No TIOCSTI: a role that is broken must not type into the terminal it was started from. */
    static const unsigned requests[] = {FIONREAD, FIONBIO, TCGETS, SIOCGIFINDEX};
    static const unsigned of_terminal[] = {TIOCGPGRP, TIOCSPGRP};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(families) && !rc; i++)
        if (families[i].in & p->families)
            rc = allow_if(ctx, SCMP_SYS(socket),
                          SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i].family));
    for (size_t i = 0; i < ARRAY_LEN(requests) && !rc && p->families; i++)
        rc = allow_if(ctx, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, requests[i]));
    for (size_t i = 0; p->groups[5] == calls_wait && i < ARRAY_LEN(of_terminal) && !rc; i++)
        rc = allow_if(ctx, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, of_terminal[i]));
    if (!rc) /* abort() of ourselves; no signal to anybody else */
        rc = allow_if(ctx, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    scmp_datum_t code = p->paths ? 0 : PROT_EXEC;
    if (!rc)
        rc = allow_if(ctx, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, code, 0));
    if (!rc)
        rc = allow_if(ctx, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, code, 0));
    /* Threads yes, processes no. clone3 hides its flags in memory: glibc falls back to clone. */
    if (!rc)
        rc =
            allow_if(ctx, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    return rc;
}

/* Landlock and the user bind the calling thread only: one that was there before would stay free. */
static bool
has_threads(void)
{
    struct stat st;

    /* Two links of a directory, and one for each thread. Unknown: TSYNC still binds them all. */
    return stat("/proc/self/task", &st) == 0 && st.st_nlink > 3;
}

int
sandbox_enter(const char *name, const struct sandbox_path *paths, unsigned npaths, struct why *why)
{
    const struct profile *p = profile_find(name);
    if (!p)
        return why_set(why, ERR_NOTFOUND, "no sandbox profile \"%s\"", name);
    if (has_threads())
        return why_set(why, ERR_STATE, "a thread was started before the sandbox of %s", name);
    int rc = sandbox_user(geteuid(), getegid(), why);
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL); /* else its first use would open a file */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);                  /* here: exec gives it back */
    if (!rc)
        rc = landlock_enter(paths, p->paths ? npaths : 0, why);
    if (rc)
        return rc;
#if defined(__SANITIZE_ADDRESS__)
    return 0; /* the sanitizer's own calls are not in the tables; Landlock stays */
#endif
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!ctx)
        return why_set(why, ERR_NOMEM, "seccomp: no memory");
    rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    for (size_t i = 0; i < ARRAY_LEN(p->groups) && p->groups[i] && !rc; i++)
        rc = allow_group(ctx, p->groups[i]);
    if (!rc)
        rc = allow_limited(ctx, p);
    if (!rc)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* Asked by malloc and by the C library at odd moments; harmless to refuse. */
    if (!rc)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 0);
    if (!rc)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc ? why_set(why, rc, "seccomp: %s", err_text(rc)) : 0;
}
