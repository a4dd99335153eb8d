/* tests/unit/test_core_base.c - core/base and core/err. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base.h"
#include "core/err.h"
#include "tap.h"

static void
test_cleanup(void)
{
    int kept;
    {
        CLEANUP(fd_close) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CLEANUP(free_ptr) char *p = malloc(10);

        OK(fd >= 0 && p, "resources are there");
        kept = fd;
    }
    IS(fcntl(kept, F_GETFD), -1, "a descriptor is closed at the end of its scope");
    kept = -1;
    errno = EAGAIN;
    fd_close(&kept);
    IS(errno, EAGAIN, "closing keeps errno");
    kept = 9999;
    fd_close(&kept);
    OK(errno == EAGAIN && kept == -1, "also when close fails");

    char *p = malloc(1);
    free_ptr(&p);
    OK(p == NULL, "free_ptr leaves NULL");
    free_ptr(&p);
    OK(p == NULL, "and may be called again");
}

static void
test_round_up(void)
{
    IS(round_up(0, 16), 0, "0 stays");
    IS(round_up(1, 16), 16, "1 goes up");
    IS(round_up(16, 16), 16, "16 stays");
}

struct outer {
    int a;
    struct inner {
        int b;
    } in;
};

static void
test_container(void)
{
    struct outer o = {0};
    struct inner *in = &o.in;

    OK(CONTAINER_OF(in, struct outer, in) == &o, "CONTAINER_OF finds the outer struct");
}

static void
test_broken(void)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        ENSURE(1 + 1 == 2);
        ENSURE(1 + 1 == 3);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    OK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a broken invariant aborts");
}

static void
test_err(void)
{
    struct why why;
    char want[256];

    for (int code = ERR_TOOBIG; code <= ERR_SYNTAX; code++)
        OK(strcmp(err_text(code), "unknown error") != 0, "code %d has a text", code);
    OK(strcmp(err_text(-ENOENT), strerror(ENOENT)) == 0, "errno has the kernel's text");
    OK(strcmp(err_text(-999), "unknown error") == 0, "unknown errno");
    OK(strcmp(err_text(INT32_MIN), "unknown error") == 0, "any number is safe");
    OK(strcmp(err_text(0), "success") == 0, "0 is success");
    IS(why_set(&why, ERR_TLS, "%s %d", "x", 3), ERR_TLS, "why_set returns the code");
    OK(strcmp(why.text, "x 3") == 0, "and keeps the text");
    IS(why_set(NULL, ERR_DNS, "x"), ERR_DNS, "no place for a story is fine");
    memset(want, 'a', sizeof(want));
    want[255] = '\0';
    why_set(&why, 0, "%s%s", want, want);
    OK(strcmp(why.text, want) == 0, "a long story is cut");
}

int
main(void)
{
    test_cleanup();
    test_round_up();
    test_container();
    test_broken();
    test_err();
    return tap_done();
}
