/*
 * submit/relay.c - bytes both ways between a program and the local listener.
 *
 * Called by sendmail.c. Reads no SMTP: grammar, rights and time-outs are the listener's. Neither
 * way waits for the other: a listener that takes no more before its replies are read has them read.
 */
#include "submit/relay.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "submit/server.h"

struct way { /* bytes from one to the other */
    int from, to;
    bool over; /* nothing more will be read */
    size_t at, n;
    char room[16384];
};

/* What is there now; at its end, or if it cannot be read, the way is over. */
static void
way_read(struct way *w)
{
    ssize_t n = read(w->from, w->room, sizeof(w->room));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    w->over = n <= 0;
    w->at = 0;
    w->n = n > 0 ? (size_t)n : 0;
}

/* As much as the other takes now: poll said that it takes something. False: it is gone. The
 * descriptors may be shared with other programs, so they stay as blocking as they are; a pipe that
 * is ready takes PIPE_BUF bytes. */
static bool
way_write(struct way *w)
{
    ssize_t n = send(w->to, w->room + w->at, w->n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && errno == ENOTSOCK)
        n = write(w->to, w->room + w->at, MIN(w->n, (size_t)PIPE_BUF));
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    w->at += (size_t)n;
    w->n -= (size_t)n;
    return true;
}

static short
way_reads(const struct way *w)
{
    return !w->over && w->n == 0 ? POLLIN : 0;
}

static short
way_writes(const struct way *w)
{
    return w->n > 0 ? POLLOUT : 0;
}

/* One look at all of them. False: the server has said its last word, or nobody listens to it. */
static bool
relay_step(struct way *to_server, struct way *to_client)
{
    struct pollfd p[3] = {
        {to_server->from, way_reads(to_server), 0},
        {to_server->to, (short)(way_writes(to_server) | way_reads(to_client)), 0},
        {to_client->to, way_writes(to_client), 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i].fd = p[i].events ? p[i].fd : -1; /* an end that hung up would be told for ever */
    if (poll(p, ARRAY_LEN(p), -1) < 0)
        return errno == EINTR;
    /* The server's words first: it may have said why before it closed. Not for its room to write:
     * both would wait for each other's words. */
    if ((p[1].revents & ~POLLOUT) && way_reads(to_client))
        way_read(to_client);
    if (p[2].revents && !way_write(to_client))
        return false;
    if (p[1].revents && to_server->n > 0 && !way_write(to_server)) {
        to_server->over = true;
        to_server->n = 0;
    }
    if (p[0].revents)
        way_read(to_server);
    return !to_client->over || to_client->n > 0;
}

int
relay_run(int in, int out)
{
    struct why why = {{0}};
    CLEANUP(fd_close) int server = server_dial(&why);
    struct way to_server = {.from = in, .to = server}, to_client = {.from = server, .to = out};
    bool told = false;

    if (server < 0) {
        printf("421 4.3.0 %s\r\n", why.text);
        fflush(stdout);
        return EX_TEMPFAIL;
    }
    while (relay_step(&to_server, &to_client)) {
        if (!told && to_server.over && to_server.n == 0) {
            (void)shutdown(server, SHUT_WR);
            told = true;
        }
    }
    return EX_OK;
}
