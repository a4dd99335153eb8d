/*
 * net/sock.c - endpoints to sockaddrs and back.
 *
 * Called by streams and listeners. Never resolves names.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "net/sock.h"

static const uint8_t sock_v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

socklen_t
sock_addr_of(const struct endpoint *e, union sock_addr *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};

    memset(ret, 0, sizeof(*ret));
    if (addr_is_v4(&e->addr)) {
        memcpy(&in.sin_addr, e->addr.b + 12, 4);
        memcpy(ret, &in, sizeof(in));
        return sizeof(in);
    }
    memcpy(&in6.sin6_addr, e->addr.b, 16);
    memcpy(ret, &in6, sizeof(in6));
    return sizeof(in6);
}

struct endpoint
sock_endpoint(const union sock_addr *a)
{
    struct endpoint e = {0};
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (a->sa.sa_family == AF_INET) {
        memcpy(&in, a, sizeof(in));
        memcpy(e.addr.b, sock_v4_mapped, 12);
        memcpy(e.addr.b + 12, &in.sin_addr, 4);
        e.port = ntohs(in.sin_port);
    } else if (a->sa.sa_family == AF_INET6) {
        memcpy(&in6, a, sizeof(in6));
        memcpy(e.addr.b, &in6.sin6_addr, 16);
        e.port = ntohs(in6.sin6_port);
    }
    return e;
}

int
sock_open(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

int
sock_addr_unix(const char *path, union sock_addr *ret, socklen_t *ret_len)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (!str_copy(str_c(path), un.sun_path, sizeof(un.sun_path)))
        return -ENAMETOOLONG;
    memset(ret, 0, sizeof(*ret));
    memcpy(ret, &un, sizeof(un));
    *ret_len = sizeof(un);
    return 0;
}
