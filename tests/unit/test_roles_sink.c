/* The event file over rotations: the files that are kept stay when there cannot be a new one, and a
 * file that somebody took away is made again. */
#include "roles/sink.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/event.h"
#include "roles/settings.h"
#include "tap.h"

static char dir[] = "/tmp/gapura-sink-XXXXXX";

static const char *
name(const char *suffix)
{
    static char text[512];
    str_fmt(text, sizeof text, "%s/events%s", dir, suffix);
    return text;
}

static void
fill(const char *suffix, const char *text)
{
    int fd = open(name(suffix), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    OK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", suffix, text);
    close(fd);
}

static bool
holds(const char *suffix, const char *text)
{
    char got[64] = "";
    int fd = open(name(suffix), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, got, sizeof got - 1) : -1;
    close(fd);
    return n >= 0 && !strcmp(got, text);
}

int
main(void)
{
    static struct plan plan = {.events_to = EVENTS_FILE, .rotate_size = 8, .keep = 3};
    struct rlimit few, most;
    struct why why = {{0}};
    struct sink s = {.fd = -1};

    OK(mkdtemp(dir), "a directory");
    str_fmt(plan.events_file, sizeof plan.events_file, "%s/events", dir);
    fill("", "0000");
    fill(".1", "1");
    fill(".2", "2");
    fill(".3", "3");
    OK(!sink_open(&s, &plan, 0, &why), "opened: %s", why.text);
    OK(!sink_look(&s), "small: it stays");
    fill("", "0000");

    getrlimit(RLIMIT_NOFILE, &most);
    few = (struct rlimit){0, most.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int i = 0; i < 5; i++)
        OK(!sink_look(&s), "no new file can be opened");
    setrlimit(RLIMIT_NOFILE, &most);
    OK(holds("", "00000000") && holds(".1", "1") && holds(".2", "2") && holds(".3", "3"),
       "and all that were kept are there");

    OK(sink_look(&s), "now it is rotated");
    OK(holds("", "") && holds(".1", "00000000") && holds(".2", "1") && holds(".3", "2"),
       "each one place on");
    OK(access(name(".new"), F_OK), "nothing is left over");
    OK(!sink_look(&s), "and stays");

    unlink(name(""));
    OK(sink_look(&s), "it was removed: roles are told of another");
    OK(write(s.fd, "x", 1) == 1 && holds("", "x"), "which has its name");
    rename(plan.events_file, name(".away"));
    OK(sink_look(&s) && holds("", "") && holds(".away", "x"), "and so when it was renamed");
    OK(!sink_look(&s), "once");
    sink_close(&s);
    for (int i = 0; i < 5; i++)
        unlink(name((const char *[]){"", ".1", ".2", ".3", ".away"}[i]));
    rmdir(dir);
    return tap_done();
}
