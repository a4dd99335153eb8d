/* Listening sockets over a reload: all or nothing, nothing lost, names that change, and the way
 * through the environment into a new program. */
#include "roles/listeners.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/stream.h"
#include "tap.h"

static char said[512];

static void
added(void *ctx, const char *name, int fd)
{
    size_t n = strlen(said);
    str_fmt(said + n, sizeof said - n, "+%s%s ", name, fcntl(fd, F_GETFD) >= 0 ? "" : " closed");
    (void)ctx;
}

static void
gone(void *ctx, const char *name)
{
    size_t n = strlen(said);
    str_fmt(said + n, sizeof said - n, "-%s ", name);
    (void)ctx;
}

static void
want(struct plan *p, const char *name, const char *at)
{
    struct plan_listen *l = &p->listens[p->nlistens++];
    str_fmt(l->name, sizeof l->name, "%s", name);
    OK(!endpoint_parse(str_c(at), 0, &l->at), "%s at %s", name, at);
}

static void
want_socket(struct plan *p, const char *name, const char *path, bool all_users)
{
    struct plan_listen *l = &p->listens[p->nlistens++];
    str_fmt(l->name, sizeof l->name, "%s", name);
    str_fmt(l->path, sizeof l->path, "%s", path);
    l->all_users = all_users;
}

static int
update(struct listeners *l, const struct plan *p, struct why *why)
{
    struct listeners next;
    int rc = listeners_prepare(l, p, &next, why);
    said[0] = 0;
    if (!rc)
        listeners_commit(l, &next, added, gone, NULL);
    return rc;
}

static bool
connects(const char *at)
{
    struct endpoint e;
    struct sockaddr_storage a = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    if (endpoint_parse(str_c(at), 0, &e))
        return false;
    in->sin_family = AF_INET;
    in->sin_port = (in_port_t)((e.port >> 8 | e.port << 8) & 0xffff);
    memcpy(&in->sin_addr, e.addr.b + 12, 4);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)in, sizeof *in);
    close(fd);
    return ok;
}

static unsigned
mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : st.st_mode & 07777;
}

/* Sockets in the file system: who may open them changes in place; what is gone leaves no file. */
static void
test_sockets(void)
{
    static struct listeners l, again;
    static struct plan all, group, clash, none;
    struct why why = {{0}};
    char dir[] = "/tmp/gapura-listeners-XXXXXX", path[64];
    OK(mkdtemp(dir) != NULL, "a directory");
    str_fmt(path, sizeof path, "%s/submit", dir);
    all.admin_gid = group.admin_gid = getegid();

    want_socket(&all, "local", path, true);
    IS(update(&l, &all, &why), 0, "a socket");
    IS(mode_of(path), 0666, "all may open it");
    int fd = l.rows[0].fd;
    want_socket(&group, "local", path, false);
    IS(update(&l, &group, &why), 0, "now the group alone");
    IS(mode_of(path), 0660, "the same file with another mode");
    IS(l.rows[0].fd, fd, "and the same socket");

    want_socket(&clash, "local", path, true);
    want_socket(&clash, "other", path, true);
    OK(update(&l, &clash, &why) < 0 && strstr(why.text, path), "one place, one listener: %s",
       why.text);
    IS(mode_of(path), 0660, "a refused plan changes nothing");

    listeners_export(&l);
    listeners_import(&again);
    OK(again.n == 1 && !strcmp(again.rows[0].at.path, path) && again.rows[0].fd == fd,
       "through the environment");
    IS(update(&l, &none, &why), 0, "none wanted");
    IS(mode_of(path), 0, "the file went with it");
    rmdir(dir);
}

int
main(void)
{
    static struct listeners l;
    static struct plan one, two, bad, renamed, twice, none;
    struct why why = {{0}};

    want(&one, "mx", "127.91.0.1:2601");
    want(&one, "mx", "127.91.0.2:2601");
    want(&one, "sub", "127.91.0.1:2602");
    IS(update(&l, &one, &why), 0, "the first time");
    OK(!strcmp(said, "+mx +mx +sub "), "all are new: %s", said);
    int sub = l.rows[2].fd;

    want(&two, "mx", "127.91.0.1:2601");
    want(&two, "sub", "127.91.0.1:2602");
    want(&two, "new", "127.91.0.1:2603");
    IS(update(&l, &two, &why), 0, "one goes, one comes");
    OK(!strcmp(said, "-mx +mx +new "), "who stays under a name that lost an address is told: %s",
       said);
    IS(l.rows[1].fd, sub, "what stays keeps its socket");
    OK(!connects("127.91.0.2:2601"), "the removed one is closed");
    OK(connects("127.91.0.1:2601") && connects("127.91.0.1:2603"), "the others are open");

    want(&bad, "mx", "127.91.0.9:2604");
    want(&bad, "mx", "192.0.2.1:25");
    OK(update(&l, &bad, &why) < 0, "an address that is not ours");
    OK(strstr(why.text, "192.0.2.1:25"), "says which: %s", why.text);
    IS(l.n, 3, "nothing has changed");
    OK(!connects("127.91.0.9:2604"), "what was bound on the way is closed again");
    OK(connects("127.91.0.1:2601") && connects("127.91.0.1:2602"), "what was there is open");

    want(&renamed, "mail", "127.91.0.1:2601");
    want(&renamed, "sub", "127.91.0.1:2602");
    IS(update(&l, &renamed, &why), 0, "a block with a new name and a removed one");
    OK(strstr(said, "-mx ") && strstr(said, "-new ") && strstr(said, "+mail "), "told: %s", said);
    OK(connects("127.91.0.1:2601"), "the port of the renamed one is open");

    want(&twice, "a", "127.91.0.1:2601");
    want(&twice, "b", "127.91.0.1:2601");
    IS(update(&l, &twice, &why), ERR_EXISTS, "one address, two blocks");
    IS(l.n, 2, "nothing has changed");

    static struct listeners after;
    listeners_export(&l);
    OK(fcntl(l.rows[0].fd, F_GETFD) == 0, "goes through exec");
    listeners_import(&after);
    IS(after.n, 2, "both arrive");
    OK(!memcmp(&after.rows[0].at, &l.rows[0].at, sizeof l.rows[0].at), "name and address");
    IS(after.rows[0].fd, l.rows[0].fd, "the same socket");
    OK(fcntl(after.rows[0].fd, F_GETFD) == FD_CLOEXEC, "no further");
    OK(!getenv("GAPURA_LISTENERS"), "and roles do not see it");

    static struct listeners odd;
    setenv("GAPURA_LISTENERS", "x|127.0.0.1:1|9999;|;y|nowhere|3;z|127.0.0.1:2|-1;;", 1);
    listeners_import(&odd);
    IS(odd.n, 0, "what is not there is left out");

    static struct plan wide, narrow;
    want(&wide, "mx", "127.91.0.1:2601");
    want(&wide, "all", "0.0.0.0:2605");
    IS(update(&after, &wide, &why), 0, "every address");
    want(&narrow, "mx", "127.91.0.1:2601");
    want(&narrow, "all", "127.91.0.1:2605");
    IS(update(&after, &narrow, &why), ERR_STATE, "one of them instead: ours is in the way");
    OK(strstr(why.text, "0.0.0.0:2605") && strstr(why.text, "restart"), "said: %s", why.text);
    OK(connects("127.91.0.2:2605"), "it stays open");
    listeners_keep(&after, &narrow);
    IS(after.n, 1, "a restart closes it");
    IS(update(&after, &narrow, &why), 0, "and has the one");
    OK(connects("127.91.0.1:2605") && !connects("127.91.0.2:2605"), "which alone is open");
    OK(connects("127.91.0.1:2601"), "what is wanted was not closed");

    IS(update(&after, &none, &why), 0, "none");
    OK(!connects("127.91.0.1:2601"), "all are closed");
    test_sockets();
    return tap_done();
}
