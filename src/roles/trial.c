/*
 * roles/trial.c - tries one forbidden thing inside a sandbox profile (tests/system uses it).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roles/sandbox.h"
#include "roles/trial.h"

static int
try_nothing(const char *path)
{
    (void)path;
    return 0;
}

static int
try_socket(const char *path)
{
    (void)path;
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int
try_open(const char *path)
{
    return open(path ? path : "/etc/passwd", O_RDONLY);
}

static int
try_write(const char *path)
{
    return open(path ? path : "/tmp/gapura-trial", O_WRONLY | O_CREAT, 0600);
}

static int
try_exec(const char *path)
{
    const char *argv[] = {"true", NULL};
    return execv(path ? path : "/bin/true", (char *const *)(uintptr_t)argv);
}

static int
try_fork(const char *path)
{
    (void)path;
    return fork();
}

static int
try_ptrace(const char *path)
{
    (void)path;
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static const struct {
    const char *what;
    int (*fn)(const char *path);
} trials[] = {
    {"nothing", try_nothing}, {"socket", try_socket}, {"open", try_open},     {"write", try_write},
    {"exec", try_exec},       {"fork", try_fork},     {"ptrace", try_ptrace},
};

int
trial_main(int argc, char **argv)
{
    struct why why = {{0}};
    struct sandbox_path path = {argc > 3 ? argv[3] : NULL, SANDBOX_READ | SANDBOX_WRITE};
    if (argc < 2 || sandbox_enter(argv[0], &path, argc > 3, &why)) {
        fprintf(stderr, "%s\n", why.text);
        return 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(trials); i++)
        if (!strcmp(trials[i].what, argv[1]))
            return trials[i].fn(argc > 2 ? argv[2] : NULL) < 0 ? 3 : 0;
    return 2;
}
