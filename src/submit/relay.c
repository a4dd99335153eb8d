/*
 * submit/relay.c - bytes both ways between a program and the local listener.
 *
 * Called by sendmail.c. Reads no SMTP: grammar, rights and time-outs are the listener's.
 */
#include "submit/relay.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "submit/server.h"

static bool
write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* What is there now, from one to the other. 1, 0 at the end, -1: the other does not take it. */
static int
move(int from, int to)
{
    char piece[16384];
    ssize_t n = read(from, piece, sizeof(piece));

    if (n < 0)
        return errno == EINTR ? 1 : 0;
    if (n == 0)
        return 0;
    return write_all(to, piece, (size_t)n) ? 1 : -1;
}

int
relay_run(int in, int out)
{
    struct why why = {{0}};
    CLEANUP(fd_close) int server = server_dial(&why);
    struct pollfd p[2] = {{.fd = in, .events = POLLIN}, {.fd = server, .events = POLLIN}};

    if (server < 0) {
        printf("421 4.3.0 %s\r\n", why.text);
        fflush(stdout);
        return EX_TEMPFAIL;
    }
    for (;;) {
        if (poll(p, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return EX_OSERR;
        }
        /* The server's words first: it may have said why before it closed. */
        if (p[1].revents && move(server, out) <= 0)
            return EX_OK;
        if (p[0].revents && move(in, server) <= 0) {
            (void)shutdown(server, SHUT_WR);
            p[0].fd = -1;
        }
    }
}
