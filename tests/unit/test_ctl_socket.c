/* The control socket: the real command line against a server with verbs of its own. */
#include "ctl/ctl.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "ctl/verbs.h"
#include "tap.h"

static char dir[] = "/tmp/test_ctl_socket.XXXXXX";
static struct loop *loop;
static char seen_verb[100], seen_args[1000];
static unsigned gone, lines_left;
static struct ctl_call *flooded;

static void
flood(void *ctx)
{
    (void)ctx;
    while (lines_left && !ctl_call_full(flooded)) {
        char text[1100];
        size_t n = str_fmt(text, sizeof(text), "{\"n\":%u,\"pad\":\"%01000d\"}", lines_left--, 0);

        ctl_call_line(flooded, str_of(text, n));
    }
    if (!lines_left)
        ctl_call_end(flooded, 0, "all");
}

static void
on_gone(void *ctx)
{
    (void)ctx;
    gone++;
}

static void
on_call(void *ctx, struct ctl_call *call, struct str verb, struct str args)
{
    (void)ctx;
    str_fmt(seen_verb, sizeof(seen_verb), "%.*s", STR_ARG(verb));
    str_fmt(seen_args, sizeof(seen_args), "%.*s", STR_ARG(args));
    if (str_eq(verb, STR("queue.summary"))) {
        flooded = call;
        lines_left = 5000; /* 5 MB: more than the queue may hold */
        ctl_call_on_drained(call, flood, NULL);
        flood(NULL);
        return;
    }
    if (str_eq(verb, STR("trace"))) {
        ctl_call_on_gone(call, on_gone, NULL);
        ctl_call_line(call, STR("{\"text\":\"S: 220 hello\\u001b[31m\"}"));
        return;
    }
    if (str_eq(verb, STR("queue.list"))) {
        ctl_call_line(call,
                      STR("{\"id\":\"abc\",\"age_s\":7500,\"size\":20480,\"sender\":\"a@b.c\","
                          "\"recipient\":\"zo\xc3\xab@example.org\",\"state\":\"waiting\"}"));
        ctl_call_line(call, STR("{\"id\":\"longer-id\",\"state\":\"held\"}"));
        ctl_call_end(call, 0, "2 recipients");
        return;
    }
    if (str_eq(verb, STR("explain"))) {
        ctl_call_line(call, STR("{\"id\":\"abc\",\"size\":2048,\"recipients\":[{\"to\":\"x\"}]}"));
        ctl_call_end(call, 0, "");
        return;
    }
    ctl_call_end(call, str_eq(verb, STR("resume")) ? 1 : 0, "no such suspension");
}

/* Runs the command line in a child; its output and its exit status. */
static int
run(const char *input, char *text, size_t cap, int argc, const char *const *words)
{
    char *argv[20] = {(char[]){"gapura"}};
    int to[2], from[2], status = 0;
    size_t n = 0;
    ssize_t got = 1;
    pid_t pid;

    for (int i = 0; i < argc; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    if (pipe2(to, 0) < 0 || pipe2(from, 0) < 0)
        return -1;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        dup2(from[1], 2);
        close(to[1]);
        close(from[0]);
        status = ctl_main(argc + 1, argv);
        fflush(stdout);
        _exit(status);
    }
    close(to[0]);
    close(from[1]);
    if (write(to[1], input, strlen(input)) < 0)
        printf("# no input\n");
    close(to[1]);
    while (got > 0) {
        struct pollfd ready = {.fd = from[0], .events = POLLIN};
        char room[65536];

        loop_once(loop, false);
        if (poll(&ready, 1, 1) <= 0)
            continue;
        got = read(from[0], room, sizeof(room));
        for (ssize_t i = 0; i < got && n + 1 < cap; i++)
            text[n++] = room[i];
    }
    text[n] = '\0';
    close(from[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(input, ...)                                                                            \
    run(input, out, sizeof(out), (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),    \
        (const char *[]){__VA_ARGS__})

static char out[8 << 20];

static void
test_lists(void)
{
    unsigned count = 0;

    IS(RUN("", "queue", "list", "--domain", "example.org", "--limit=5", "--run-dir", dir), 0,
       "queue list");
    OK(!strcmp(seen_args, "{\"domain\":\"example.org\",\"limit\":5}"), "args: %s", seen_args);
    OK(strstr(out, "ID         ") && strstr(out, "2h 5m") && strstr(out, "20.0 KB") &&
           strstr(out, "zo\xc3\xab@example.org") && !strstr(out, "TRIES"),
       "a table of the columns that are there:\n%s", out);
    IS(RUN("", "queue", "list", "--json", "--run-dir", dir), 0, "as JSON");
    OK(!strncmp(out, "{\"id\":\"abc\"", 11) && strchr(out, '\n'), "a line each");
    IS(RUN("", "queue", "summary", "--json", "--run-dir", dir), 0, "5000 lines");
    for (const char *p = out; (p = strchr(p, '\n')); p++)
        count++;
    IS(count, 5000, "all came through");
    IS(RUN("", "explain", "bob@example.org", "--run-dir", dir), 0, "explain");
    OK(!strcmp(seen_args, "{\"recipient\":\"bob@example.org\"}"), "an address: %s", seen_args);
    OK(strstr(out, "size: 2.0 KB\nrecipients:\n  1.\n    to: x\n"), "a record:\n%s", out);
}

static void
test_usage(void)
{
    IS(RUN("", "queue", "lits"), 2, "a slip");
    OK(strstr(out, "did you mean `gapura queue list`?"), "%s", out);
    IS(RUN("", "qeue"), 2, "another");
    OK(strstr(out, "did you mean `gapura queue"), "%s", out);
    IS(RUN("", "queue", "list", "--domian", "x"), 2, "an option");
    OK(strstr(out, "did you mean --domain?"), "%s", out);
    IS(RUN("", "queue", "remove", "abc", "--run-dir", dir), 2, "no reason");
    OK(strstr(out, "--reason"), "%s", out);
    IS(RUN("", "queue", "remove", "--reason", "x", "--run-dir", dir), 2, "remove what?");
    IS(RUN("", "suspend", "--for", "soon", "--reason", "x", "--domain", "y"), 2, "no time span");
    IS(RUN("", "trace", "--ip", "example.org"), 2, "no address");
    IS(RUN("", "explain"), 2, "explain what?");
    IS(RUN("", "queue"), 2, "a group");
    OK(strstr(out, "gapura queue hold"), "lists its verbs");
    IS(RUN("", "resume", "--domain", "x", "--run-dir", dir), 1, "refused by the role");
    OK(strstr(out, "gapura: no such suspension"), "%s", out);
    IS(RUN("", "queue", "list", "--run-dir", "/nonexistent"), 3, "nobody there");
    OK(strstr(out, "cannot reach the courier at /nonexistent/courier.ctl: is gapura running?"),
       "%s", out);
    IS(RUN("", "--version"), 0, "version");
    IS(RUN("", "help"), 0, "help");
    for (size_t i = 0; i < ctl_nverbs; i++)
        OK(strstr(out, ctl_verbs[i].words), "help lists %s", ctl_verbs[i].words);
    IS(RUN("", "queue", "hold", "--help"), 0, "a verb's help");
    OK(strstr(out, "example: gapura queue hold"), "with an example");
}

static void
test_password(void)
{
    IS(RUN("s\xc3\xa9"
           "cret\n",
           "user", "add", "bob", "--senders", "x.example", "--run-dir", dir),
       0, "user add");
    OK(strstr(seen_args, "\"password\":\"s\\u00e9cret\"") ||
           strstr(seen_args, "\"password\":\"s\xc3\xa9"
                             "cret\""),
       "from standard input: %s", seen_args);
    IS(RUN("", "user", "password", "bob", "--run-dir", dir), 2, "none given");
    IS(RUN("a\n", "user", "add", "bob", "--password", "x", "--run-dir", dir), 2, "never as option");
}

static void
test_trace(void)
{
    char *argv[] = {(char[]){"gapura"},
                    (char[]){"trace"},
                    (char[]){"--ip"},
                    (char[]){"::1"},
                    (char[]){"--run-dir"},
                    dir,
                    NULL};
    char text[200] = "";
    int from[2], status;
    ssize_t n;
    pid_t pid;

    if (pipe2(from, 0) < 0)
        return;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(from[1], 1);
        _exit(ctl_main(6, argv));
    }
    close(from[1]);
    seen_verb[0] = '\0';
    while (strcmp(seen_verb, "trace"))
        loop_once(loop, true);
    loop_once(loop, false);
    n = read(from[0], text, sizeof(text) - 1);
    OK(n > 0 && !strcmp(text, "S: 220 hello?[31m\n"), "a line at once, safe for a terminal: %s",
       text);
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    while (!gone)
        loop_once(loop, true);
    OK(gone == 1, "the role is told that the client left");
    close(from[0]);
}

/* As many as the server takes, of whom nobody asks anything. */
static void
test_idle_ones_give_way(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int idle[64];
    char text[300] = "";

    str_fmt(un.sun_path, sizeof(un.sun_path), "%s/courier.ctl", dir);
    for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
        idle[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        OK(!connect(idle[i], (struct sockaddr *)&un, sizeof(un)), "client %zu", i);
        loop_once(loop, false);
    }
    IS(RUN("", "queue", "list", "--run-dir", dir), 0, "one more is served: %s", out);
    OK(strstr(out, "longer-id"), "%s", out);
    OK(recv(idle[0], text, sizeof(text) - 1, 0) > 0 && strstr(text, "idle the longest"),
       "the first of them gave way, and was told: %s", text);
    IS(recv(idle[0], text, sizeof(text), 0), 0, "and closed");
    IS(recv(idle[1], text, sizeof(text), 0), -1, "the next has its place");
    for (size_t i = 0; i < ARRAY_LEN(idle); i++)
        close(idle[i]);
    loop_once(loop, false);
}

int
main(void)
{
    static const char *const sockets[] = {"courier", "keeper", "gate"};
    struct ctl_server *servers[ARRAY_LEN(sockets)];
    char path[200];

    if (!mkdtemp(dir))
        return 1;
    loop = loop_create();
    for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
        str_fmt(path, sizeof(path), "%s/%s.ctl", dir, sockets[i]);
        servers[i] = ctl_server_create(loop, listener_bind_unix(path, 0600), on_call, NULL);
        OK(servers[i], "listens at %s", path);
    }
    test_lists();
    test_usage();
    test_password();
    test_trace();
    test_idle_ones_give_way();
    for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
        ctl_server_free(servers[i]);
        str_fmt(path, sizeof(path), "%s/%s.ctl", dir, sockets[i]);
        unlink(path);
    }
    rmdir(dir);
    loop_free(loop);
    return tap_done();
}
