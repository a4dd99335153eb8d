/*
 * net/sock.h - endpoints to sockaddrs and back, and the options every socket here gets.
 */
#ifndef GAPURA_NET_SOCK_H
#define GAPURA_NET_SOCK_H

#include <sys/socket.h>

#include "core/addr.h"

union sock_addr {
    struct sockaddr sa;
    struct sockaddr_storage ss;
};
/* Mapped addresses become AF_INET. Returns the length. */
socklen_t sock_addr_of(const struct endpoint *e, union sock_addr *ret);
/* Zeroed for anything but IPv4 and IPv6. */
struct endpoint sock_endpoint(const union sock_addr *a);
/* A non-blocking, close-on-exec socket or -errno. */
int sock_open(int family, int type);
/* sockaddr_un of a path: 0 or -ENAMETOOLONG. */
int sock_addr_unix(const char *path, union sock_addr *ret, socklen_t *ret_len);

#endif
