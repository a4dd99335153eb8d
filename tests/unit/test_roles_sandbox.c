/* What each profile forbids is tried in a process of its own, as root and as an ordinary user: it
 * dies of SIGSYS or is refused, and what the role needs works. */
#include "roles/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define ORDINARY 61790u

enum outcome { KILLED, DENIED, WORKS, OTHER };
static const char *const outcome_names[] = {"killed", "denied", "works", "something else"};

static char inside[256], outside[256], readable[256];

static int
socket_inet(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int
socket_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int
socket_alg(void) /* the kernel's own crypto: a large and old surface */
{
    return socket(AF_ALG, SOCK_SEQPACKET, 0);
}

static int
socket_listen(void)
{
    return listen(0, 1);
}

static int
open_outside(void)
{
    return open("/etc/passwd", O_RDONLY);
}

static int
open_inside(void)
{
    return open(readable, O_RDONLY);
}

static int
write_inside(void)
{
    return open(inside, O_RDWR | O_CREAT | O_TRUNC, 0600);
}

static int
write_outside(void)
{
    return open(outside, O_RDWR | O_CREAT, 0600);
}

static int
rename_inside(void)
{
    char to[300];
    str_fmt(to, sizeof to, "%s.new", inside);
    return write_inside() < 0 ? -1 : rename(inside, to);
}

static int
link_outside(void)
{
    return symlink("/etc/shadow", outside);
}

static int
exec(void)
{
    const char *argv[] = {"true", NULL};
    return execv("/bin/true", (char *const *)(uintptr_t)argv);
}

static int
new_process(void)
{
    return fork();
}

static int
trace(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int
signal_other(void)
{
    return kill(getppid(), 0);
}

static int
signal_other_thread(void)
{
    return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static int
signal_self(void)
{
    signal(SIGUSR1, SIG_IGN);
    return raise(SIGUSR1);
}

static int
type_into_terminal(void)
{
    return ioctl(0, TIOCSTI, "x");
}

static int
new_code(void)
{
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static int
code_of_data(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static void *
nothing(void *ctx)
{
    return ctx;
}

static int
thread(void)
{
    pthread_t t;
    return pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL) ? -1 : 0;
}

static int
more_descriptors(void)
{
    struct rlimit l = {1u << 20, 1u << 20};
    return setrlimit(RLIMIT_NOFILE, &l);
}

static int
become_root(void)
{
    return (int)syscall(SYS_setuid, 0);
}

static int
memory(void)
{
    int fd = memfd_create("trial", MFD_CLOEXEC);
    return fd < 0 ? -1 : ftruncate(fd, 1u << 20);
}

struct trial {
    const char *name;
    int (*fn)(void);
    bool by_landlock;
    const char *outcomes; /* K D W for each profile, in the order of `profiles` */
};
static const char *const profiles[] = {"scan",    "keyring", "gate",    "desk",   "resolver",
                                       "courier", "keeper",  "spooler", "loader", "lab"};
static const struct trial trials[] = {
    {"a socket", socket_inet, false, "KKKKWWWKKW"},
    {"a local socket", socket_unix, false, "KKKKKWWKKW"},
    {"a socket of the kernel's crypto", socket_alg, false, "KKKKKKKKKK"},
    {"listening", socket_listen, false, "KKKKKKKKKK"},
    {"reading a file that is not its own", open_outside, true, "KKKKDDDDDD"},
    {"reading its own file", open_inside, false, "KKKKWWWWWW"},
    {"writing where it may", write_inside, false, "KKKKWWWWWW"},
    {"writing elsewhere", write_outside, true, "KKKKDDDDDD"},
    {"renaming its own file", rename_inside, false, "KKKKKWWWKW"},
    {"a symbolic link", link_outside, false, "KKKKKKKKKK"},
    {"another program", exec, false, "KKKKKKKKKK"},
    {"another process", new_process, false, "KKKKKKKKKK"},
    {"a thread", thread, false, "WWWWWWWWWW"},
    {"looking into another process", trace, false, "KKKKKKKKKK"},
    {"a signal to another process", signal_other, false, "KKKKKKKKKK"},
    {"a signal to a thread of another", signal_other_thread, false, "KKKKKKKKKK"},
    {"a signal to itself", signal_self, false, "WWWWWWWWWW"},
    {"typing into the terminal", type_into_terminal, false, "KKKKKKKKKK"},
    {"memory to write and run", new_code, false, "KKKKWWWWWW"},
    {"running what was written", code_of_data, false, "KKKKWWWWWW"},
    {"a higher limit", more_descriptors, false, "DDDDDDDDDD"},
    {"another user", become_root, false, "KKKKKKKKKK"},
    {"memory of its own to hand on", memory, false, "WWWWWWWWWW"},
};

static enum outcome
attempt(const char *profile, unsigned uid, int (*fn)(void))
{
    pid_t pid = fork();
    if (!pid) {
        struct why why = {{0}};
        struct sandbox_paths paths = {0};
        signal(SIGSYS, SIG_DFL);
        char *dir = str_dup(str_sub(str_c(inside), 0, (size_t)str_rchr(str_c(inside), '/')));
        sandbox_paths_add(&paths, str_c(dir), SANDBOX_READ | SANDBOX_WRITE);
        sandbox_paths_add(&paths, STR("/no/such/place"), SANDBOX_READ);
        if (uid && sandbox_user(uid, uid, &why))
            _exit(9);
        if (sandbox_enter(profile, paths.items, paths.n, &why)) {
            fprintf(stderr, "# %s\n", why.text);
            _exit(9);
        }
        int rc = fn();
        _exit(rc >= 0 ? 0 : errno == EACCES || errno == EPERM ? 3 : 4);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return OTHER;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : OTHER;
    return WEXITSTATUS(status) == 0 ? WORKS : WEXITSTATUS(status) == 3 ? DENIED : OTHER;
}

static void
test_profiles(unsigned uid)
{
    for (size_t i = 0; i < ARRAY_LEN(trials); i++)
        for (size_t k = 0; k < ARRAY_LEN(profiles); k++) {
            const struct trial *t = &trials[i];
            enum outcome want = t->outcomes[k] == 'K'   ? KILLED
                                : t->outcomes[k] == 'D' ? DENIED
                                                        : WORKS;
#ifdef __SANITIZE_ADDRESS__
            if (want == KILLED || !t->by_landlock)
                continue; /* no seccomp there (roles/sandbox.c) */
#endif
            if (t->by_landlock && want == DENIED && !sandbox_has_landlock()) {
                tap_skip(t->name, "this kernel has no Landlock");
                continue;
            }
            enum outcome got = attempt(profiles[k], uid, t->fn);
            OK(got == want, "%s as uid %u: %s: %s", profiles[k], uid ? uid : geteuid(), t->name,
               outcome_names[want]);
            if (got != want)
                printf("#   %s\n", outcome_names[got]);
            (void)unlink(outside);
        }
}

static void
test_marks(void)
{
    char text[4096] = "";
    pid_t pid = fork();
    if (!pid) {
        struct why why = {{0}};
        int fd = open("/proc/self/status", O_RDONLY);
        if (fd < 0 || sandbox_enter("keyring", NULL, 0, &why))
            _exit(9);
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        _exit(strstr(text, "NoNewPrivs:\t1") && strstr(text, "Seccomp:\t2") ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
#ifdef __SANITIZE_ADDRESS__
    tap_skip("marks of the kernel", "no seccomp under the sanitizer");
#else
    OK(WIFEXITED(status) && !WEXITSTATUS(status), "the kernel says NoNewPrivs and Seccomp");
#endif
}

static int
profile_ends_by(const char *profile)
{
    pid_t pid = fork();
    int status = 0;

    if (!pid) {
        const struct itimerval t = {.it_value.tv_usec = 10000};
        struct why why = {{0}};
        if (sandbox_enter(profile, NULL, 0, &why) || setitimer(ITIMER_PROF, &t, NULL))
            _exit(9);
        for (;;) {
        }
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* A report that is never read to its end ends its reader. */
static void
test_limit(void)
{
    IS(profile_ends_by("scan"), SIGPROF, "the scan role may set a limit to its own time");
#ifndef __SANITIZE_ADDRESS__
    IS(profile_ends_by("gate"), SIGSYS, "others have no need to");
#endif
}

static void
test_dumpable(void)
{
    pid_t pid = fork();
    if (!pid) {
        struct stat st;
        int fd = open("/proc/self/status", O_RDONLY);
        char path[64];
        struct sandbox_path proc = {"/proc", SANDBOX_READ};
        str_fmt(path, sizeof path, "/proc/%d/mem", (int)getpid());
        if (fd < 0 || sandbox_user(ORDINARY, ORDINARY, NULL) ||
            sandbox_enter("resolver", &proc, 1, NULL) || stat(path, &st))
            _exit(9);
        _exit(st.st_uid == 0 ? 0 : 1); /* its files in /proc are root's: none of its uid may look */
    }
    int status = 0;
    waitpid(pid, &status, 0);
    OK(WIFEXITED(status) && !WEXITSTATUS(status), "no other process of its user looks into it");
}

static void
test_paths(void)
{
    struct sandbox_paths a = {0}, b = {0};
    sandbox_paths_add(&a, STR("/var/mail"), SANDBOX_READ | SANDBOX_WRITE);
    sandbox_paths_add(&a, STR("/etc"), SANDBOX_READ);
    sandbox_paths_add(&a, STR("/etc"), SANDBOX_READ);
    sandbox_paths_add(&a, STR_NONE, SANDBOX_READ);
    sandbox_paths_add(&a, str_of("/a\0b", 4), SANDBOX_READ);
    IS(a.n, 2, "once each, and none without a name");
    OK(sandbox_paths_cover(&a, &b), "nothing is covered by anything");
    sandbox_paths_add(&b, STR("/var/mail"), SANDBOX_READ);
    OK(sandbox_paths_cover(&a, &b), "reading by writing");
    sandbox_paths_add(&b, STR("/etc"), SANDBOX_WRITE);
    OK(!sandbox_paths_cover(&a, &b), "writing not by reading");
    sandbox_paths_done(&a);
    OK(!sandbox_paths_cover(&a, &b), "and nothing by nothing");
    sandbox_paths_done(&b);
}

int
main(void)
{
    char dir[] = "/tmp/gapura-sandbox-XXXXXX", command[300];
    struct why why = {{0}};

    if (tap_valgrind()) {
        tap_skip("profiles", "valgrind makes calls of its own");
        return tap_done();
    }
    if (!mkdtemp(dir) || chmod(dir, 0777))
        return 1;
    str_fmt(inside, sizeof inside, "%s/file", dir);
    str_fmt(readable, sizeof readable, "%s/readable", dir);
    str_fmt(outside, sizeof outside, "/tmp/gapura-outside-%d", (int)getpid());
    int fd = open(readable, O_WRONLY | O_CREAT, 0666);
    if (fd < 0 || fchmod(fd, 0666))
        return 1;
    close(fd);
    OK(sandbox_enter("no-such-profile", NULL, 0, &why) == ERR_NOTFOUND, "a profile must exist");
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++)
        OK(sandbox_exists(profiles[i]), "%s exists", profiles[i]);
    test_paths();
    test_marks();
    test_limit();
    test_profiles(0);
    str_fmt(command, sizeof command, "%s.new", inside);
    (void)unlink(command);
    (void)unlink(inside); /* root's: another user could not overwrite it */
    if (geteuid() == 0) {
        test_dumpable();
        test_profiles(ORDINARY);
    } else {
        tap_skip("profiles as another user", "needs root");
    }
    (void)unlink(command);
    (void)unlink(inside);
    (void)unlink(readable);
    rmdir(dir);
    return tap_done();
}
