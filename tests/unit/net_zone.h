/*
 * tests/unit/net_zone.h - a real name server (NSD) on a port of its own with zones the test wrote,
 * and a hand that signs records (RFC 4034, ECDSA P-256) for tests of DNSSEC.
 */
#ifndef GAPURA_NET_ZONE_H
#define GAPURA_NET_ZONE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#define ERR_STATE openssl_err_state /* a type's name there, an error code here */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#undef ERR_STATE
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/codec.h"

struct zone_server {
    char dir[64];
    uint16_t port;
    pid_t pid;
};

__attribute__((unused)) static bool
zone_write(const struct zone_server *z, const char *name, const char *text)
{
    char path[128];
    int fd;
    bool good;

    str_fmt(path, sizeof(path), "%s/%s", z->dir, name);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* A port that is free for UDP and TCP at this moment; 0 if the one tried was not free for both. */
static uint16_t
zone_free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(in);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint16_t port = 0;

    if (bind(udp, (struct sockaddr *)&in, n) == 0 &&
        getsockname(udp, (struct sockaddr *)&in, &n) == 0 &&
        bind(tcp, (struct sockaddr *)&in, n) == 0)
        port = ntohs(in.sin_port);
    close(udp);
    close(tcp);
    return port;
}

/* Asks for the SOA of `zone` until there is an authoritative answer; ten seconds. */
static bool
zone_wait(struct zone_server *z, const char *zone)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(z->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    uint8_t q[300] = {0, 7, 0, 0, 0, 1}, r[512];
    uint64_t until = clock_mono() + 10 * NS_PER_S;
    size_t n = 12;
    struct str rest = str_c(zone);
    bool good = false;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    while (rest.n) {
        struct str label = str_cut(rest, '.', &rest);

        q[n++] = (uint8_t)label.n;
        memcpy(q + n, label.p, label.n);
        n += label.n;
    }
    n++;
    q[n + 1] = 6;
    q[n + 3] = 1;
    n += 4;
    if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
        return false;
    while (!good && clock_mono() < until) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (waitpid(z->pid, NULL, WNOHANG) == z->pid) {
            z->pid = 0; /* it ended: somebody took the port, perhaps */
            break;
        }
        (void)send(fd, q, n, MSG_NOSIGNAL);
        if (poll(&p, 1, 50) <= 0)
            continue;
        got = recv(fd, r, sizeof(r), MSG_DONTWAIT);
        if (got < 0) { /* refused: the port is not open yet */
            (void)poll(NULL, 0, 20);
            continue;
        }
        good = got > 12 && (r[3] & 15) == 0 && r[7] > 0;
    }
    close(fd);
    return good;
}

static void
zone_show_log(const struct zone_server *z)
{
    char path[128], text[4096];
    ssize_t n;
    int fd;

    str_fmt(path, sizeof(path), "%s/log", z->dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, text, sizeof(text));
    if (fd >= 0)
        close(fd);
    printf("# the name server's log:\n%.*s\n", n > 0 ? (int)n : 0, text);
}

__attribute__((unused)) static void
zone_stop(struct zone_server *z)
{
    if (z->pid > 0) {
        kill(z->pid, SIGTERM);
        waitpid(z->pid, NULL, 0);
    }
    z->pid = 0;
}

static bool
zone_start_once(struct zone_server *z, const char *const zones[])
{
    struct buf conf = {.max = 8192};
    char path[128];
    bool good;

    z->port = 0;
    for (int i = 0; i < 100 && z->port == 0; i++)
        z->port = zone_free_port();
    buf_fmt(&conf,
            "server:\n server-count: 1\n ip-address: 127.0.0.1@%u\n username: \"\"\n"
            " chroot: \"\"\n database: \"\"\n zonesdir: \"%s\"\n pidfile: \"%s/pid\"\n"
            " xfrdfile: \"%s/xfrd\"\n zonelistfile: \"%s/list\"\n logfile: \"%s/log\"\n"
            " xfrdir: \"%s\"\n rrl-ratelimit: 0\n"
            "remote-control:\n control-enable: no\n",
            z->port, z->dir, z->dir, z->dir, z->dir, z->dir, z->dir);
    for (size_t i = 0; zones[i]; i++)
        buf_fmt(&conf, "zone:\n name: \"%s\"\n zonefile: \"%s.zone\"\n", zones[i], zones[i]);
    buf_char(&conf, '\0');
    good = zone_write(z, "nsd.conf", conf.p);
    buf_done(&conf);
    str_fmt(path, sizeof(path), "%s/nsd.conf", z->dir);
    z->pid = good ? fork() : -1;
    if (z->pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGTERM); /* also if the test dies */
        dup2(null, 1);
        dup2(null, 2);
        execl("/usr/sbin/nsd", "nsd", "-d", "-c", path, (char *)NULL);
        _exit(127);
    }
    return z->pid > 0 && zone_wait(z, zones[0]);
}

/* `zones`: names; their files are NAME.zone in z->dir, written by the caller before. The port is
 * only probably free, so a few are tried. */
__attribute__((unused)) static bool
zone_start(struct zone_server *z, const char *const zones[])
{
    for (int i = 0; i < 4; i++) {
        if (zone_start_once(z, zones))
            return true;
        zone_show_log(z);
        zone_stop(z);
    }
    return false;
}

/* --- signing, for RRsets of one record --- */

struct zone_key {
    EVP_PKEY *pkey;
    uint8_t rdata[68]; /* of the DNSKEY */
    uint16_t tag;
};

static void
zone_wire_name(struct buf *b, const char *name)
{
    struct str rest = str_c(name);

    while (rest.n) {
        struct str label = str_cut(rest, '.', &rest);

        buf_char(b, (char)label.n);
        buf_str(b, label);
    }
    buf_char(b, '\0');
}

static void
zone_be(struct buf *b, uint32_t v, unsigned bytes)
{
    while (bytes--)
        buf_char(b, (char)(v >> (8 * bytes)));
}

__attribute__((unused)) static bool
zone_key_make(struct zone_key *k)
{
    uint8_t point[80];
    size_t n = 0;
    uint32_t sum = 0;

    k->pkey = EVP_EC_gen("P-256");
    if (!k->pkey || !EVP_PKEY_get_octet_string_param(k->pkey, "pub", point, sizeof(point), &n) ||
        n != 65)
        return false;
    memcpy(k->rdata, (uint8_t[]){1, 1, 3, 13}, 4); /* KSK and zone key; ECDSA P-256 */
    memcpy(k->rdata + 4, point + 1, 64);
    for (size_t i = 0; i < sizeof(k->rdata); i++)
        sum += i & 1 ? k->rdata[i] : (uint32_t)k->rdata[i] << 8;
    k->tag = (uint16_t)(sum + (sum >> 16));
    return true;
}

/* Appends the record and its RRSIG as zone file text (RFC 3597 form). */
__attribute__((unused)) static bool
zone_sign(struct buf *out, const struct zone_key *k, const char *zone, const char *owner,
          uint16_t type, const void *rdata, size_t n, bool forge)
{
    struct buf sig = {.max = 1024}, signed_ = {.max = 4096}, owner_wire = {.max = 300};
    uint32_t now = (uint32_t)clock_wall_s();
    unsigned labels = 1;
    uint8_t der[80], raw[64];
    size_t der_n = sizeof(der);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const unsigned char *at = der;
    ECDSA_SIG *pair;
    bool good;

    for (const char *c = owner; *c; c++)
        labels += *c == '.';
    zone_wire_name(&owner_wire, owner);
    zone_be(&sig, type, 2);
    zone_be(&sig, 13, 1);
    zone_be(&sig, labels, 1);
    zone_be(&sig, 300, 4);
    zone_be(&sig, now + 86400, 4);
    zone_be(&sig, now - 3600, 4);
    zone_be(&sig, k->tag, 2);
    zone_wire_name(&sig, zone);
    buf_add(&signed_, sig.p, sig.n);
    buf_add(&signed_, owner_wire.p, owner_wire.n);
    zone_be(&signed_, type, 2);
    zone_be(&signed_, 1, 2);
    zone_be(&signed_, 300, 4);
    zone_be(&signed_, (uint32_t)n, 2);
    buf_add(&signed_, rdata, n);
    good = md && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
           EVP_DigestSign(md, der, &der_n, (const uint8_t *)signed_.p, signed_.n) == 1;
    EVP_MD_CTX_free(md);
    pair = good ? d2i_ECDSA_SIG(NULL, &at, (long)der_n) : NULL;
    good = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32) == 32 &&
           BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32) == 32;
    ECDSA_SIG_free(pair);
    if (forge)
        raw[40] ^= 1;
    buf_add(&sig, raw, sizeof(raw));
    buf_fmt(out, "%s. 300 IN TYPE%u \\# %zu ", owner, type, n);
    codec_hex(out, str_of(rdata, n));
    buf_fmt(out, "\n%s. 300 IN TYPE46 \\# %zu ", owner, sig.n);
    codec_hex(out, buf_view(&sig));
    buf_char(out, '\n');
    buf_done(&sig);
    buf_done(&signed_);
    buf_done(&owner_wire);
    return good && !out->failed;
}

#endif
