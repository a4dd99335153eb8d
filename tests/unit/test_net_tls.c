/* TLS in streams: names, trust, DANE, injection before TLS, hostile bytes, memory. */
#include <fcntl.h>
#include <malloc.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "net_party.h"

extern char **environ;
static char dir[] = "/tmp/gapura-tls-XXXXXX";

static int
run(const char *const argv[])
{
    posix_spawn_file_actions_t act;
    pid_t pid;
    int status = -1;

    posix_spawn_file_actions_init(&act);
    posix_spawn_file_actions_addopen(&act, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&act, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, argv[0], &act, NULL, (char *const *)(uintptr_t)argv, environ) == 0)
        waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&act);
    return status;
}

static const char *
at(const char *name)
{
    static char paths[8][128];
    static unsigned turn;
    char *p = paths[turn++ % 8];

    str_fmt(p, 128, "%s/%s", dir, name);
    return p;
}

static struct str
slurp(const char *name)
{
    static char texts[16][16384];
    static unsigned turn;
    char *t = texts[turn++ % 16];
    int fd = open(at(name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, t, 16384);

    if (fd >= 0)
        close(fd);
    return str_of(t, n < 0 ? 0 : (size_t)n);
}

/* NAME.key, NAME.crt by the test's own authority. */
static int
make_cert(const char *name, const char *alg, const char *names)
{
    char key[64], csr[64], crt[64], ext[64], subject[128], text[512];
    struct buf b = {0};
    int fd, err;

    str_fmt(key, sizeof(key), "%s.key", name);
    str_fmt(csr, sizeof(csr), "%s.csr", name);
    str_fmt(crt, sizeof(crt), "%s.crt", name);
    str_fmt(ext, sizeof(ext), "%s.ext", name);
    str_fmt(subject, sizeof(subject), "/CN=%s", name);
    str_fmt(text, sizeof(text), "subjectAltName=%s\n", names);
    fd = open(at(ext), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)b;
    err = write(fd, text, strlen(text)) < 0;
    close(fd);
    if (str_eq(str_c(alg), STR("rsa")))
        err |=
            run((const char *const[]){"openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout",
                                      at(key), "-out", at(csr), "-subj", subject, NULL});
    else
        err |= run((const char *const[]){"openssl", "req", "-newkey", "ec", "-pkeyopt",
                                         "ec_paramgen_curve:P-256", "-nodes", "-keyout", at(key),
                                         "-out", at(csr), "-subj", subject, NULL});
    return err |
           run((const char *const[]){"openssl", "x509", "-req", "-in", at(csr), "-CA", at("ca.crt"),
                                     "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "30",
                                     "-extfile", at(ext), "-out", at(crt), NULL});
}

static bool
make_all(void)
{
    if (!mkdtemp(dir))
        return false;
    if (run((const char *const[]){"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                                  "-days", "30", "-keyout", at("ca.key"), "-out", at("ca.crt"),
                                  "-subj", "/CN=Test Authority", NULL}))
        return false;
    return make_cert("mx", "rsa", "DNS:mx.example.test,IP:127.0.0.1") == 0 &&
           make_cert("mxec", "ec", "DNS:mx.example.test,IP:127.0.0.1") == 0 &&
           make_cert("wild", "ec", "DNS:*.Wild.test,DNS:wild.test") == 0;
}

static struct tls_context *
server_context(bool client_ca)
{
    struct tls_key_pair pairs[] = {
        {slurp("mx.crt"), slurp("mx.key")},
        {slurp("wild.crt"), slurp("wild.key")},
        {slurp("mxec.crt"), slurp("mxec.key")},
    };
    struct tls_server_conf conf = {.pairs = pairs, .npairs = 3};
    struct tls_context *c = NULL;
    struct why why = {0};

    if (client_ca)
        conf.client_ca = slurp("ca.crt");
    OK(tls_server_context(&c, &conf, &why) == 0, "a server's context %s", why.text);
    return c;
}

static struct tls_context *
client_context(struct tls_client_conf conf)
{
    struct tls_context *c = NULL;
    struct why why = {0};

    if (!conf.ca.n)
        conf.ca = slurp("ca.crt");
    OK(tls_client_context(&c, &conf, &why) == 0, "a client's context %s", why.text);
    return c;
}

struct handshake {
    struct tls_info server, client;
    int server_status, client_status;
    char why[256];
};

static void
shake(struct loop *loop, struct tls_context *sc, struct tls_context *cc, const char *name,
      struct handshake *ret)
{
    static uint8_t last_exporter[32];
    struct tls_binding ours, theirs;
    struct party server = {0}, client = {0};

    memset(ret, 0, sizeof(*ret));
    party_meet(loop, &server, &client, NULL);
    IS(stream_start_tls(server.s, sc, true, STR("")), 0, "server starts");
    IS(stream_start_tls(client.s, cc, false, str_c(name)), 0, "client starts");
    UNTIL(loop, server.secured && client.secured);
    ret->server_status = server.tls_status;
    ret->client_status = client.tls_status;
    str_fmt(ret->why, sizeof(ret->why), "%s", client.why);
    if (!client.tls_status && !server.tls_status) {
        party_say(&client, "over tls");
        UNTIL(loop, server.got.n == 8);
        TEXT(server.got, "over tls", "words go through");
        OK(stream_tls_info(server.s, &ret->server), "info of the server's side");
        OK(stream_tls_info(client.s, &ret->client), "info of the client's side");
        OK(stream_tls_binding(server.s, &ours) && stream_tls_binding(client.s, &theirs),
           "what binds a login to it");
        OK(ours.exporter_n == 32 && ours.endpoint_n >= 32 && !memcmp(&ours, &theirs, sizeof(ours)),
           "is the same at both ends");
        OK(memcmp(ours.exporter, last_exporter, 32) != 0, "and another for each connection");
        memcpy(last_exporter, ours.exporter, 32);
        stream_close(client.s, true);
        client.s = NULL;
        UNTIL(loop, server.closed);
        IS(server.status, 0, "close_notify is a clean end");
    }
    party_part(&server, &client);
}

static void
test_names(struct loop *loop)
{
    struct tls_context *sc = server_context(false);
    struct tls_context *cc = client_context((struct tls_client_conf){.verify = true});
    struct handshake h;

    shake(loop, sc, cc, "mx.example.test", &h);
    TEXT(str_c(h.client.peer_name), "mx.example.test", "the default pair");
    OK(h.client.verified, "verified");
    TEXT(str_c(h.client.version), "TLSv1.3", "version");
    TEXT(str_c(h.server.sni), "mx.example.test", "SNI is known");
    IS(strlen(h.client.peer_hash), 64, "a hash");
    IS(strlen(h.server.peer_hash), 0, "the client gave none");
    OK(!h.server.verified, "nor is it verified");
    shake(loop, sc, cc, "A.wild.test", &h);
    IS(h.client_status, 0, "wildcard name %s", h.why);
    TEXT(str_c(h.client.peer_name), "*.wild.test", "chosen by wildcard");
    shake(loop, sc, cc, "wild.test", &h);
    IS(h.client_status, 0, "its plain name");
    shake(loop, sc, cc, "a.b.wild.test", &h);
    IS(h.client_status, ERR_TLS, "a wildcard is one label: %s", h.why);
    OK(str_find(str_c(h.why), STR("hostname mismatch")) >= 0 ||
           str_find(str_c(h.why), STR("ostname")) >= 0,
       "the reason is told");
    shake(loop, sc, cc, "other.test", &h);
    IS(h.client_status, ERR_TLS, "unknown name: default certificate, refused by a strict client");
    shake(loop, sc, cc, "127.0.0.1", &h);
    IS(h.client_status, 0, "an address in the certificate %s", h.why);
    tls_context_unref(cc);
    cc = client_context((struct tls_client_conf){0});
    shake(loop, sc, cc, "other.test", &h);
    IS(h.client_status, 0, "an opportunistic client goes on");
    OK(!h.client.verified, "and knows it is not verified");
    tls_context_unref(cc);
    cc = client_context((struct tls_client_conf){.verify = true, .ca = slurp("wild.crt")});
    shake(loop, sc, cc, "mx.example.test", &h);
    IS(h.client_status, ERR_TLS, "unknown authority: %s", h.why);
    IS(h.server_status, ERR_TLS, "the server hears of it");
    tls_context_unref(cc);
    tls_context_unref(sc);
}

static void
test_client_certificates(struct loop *loop)
{
    struct tls_key_pair pair = {slurp("wild.crt"), slurp("wild.key")};
    struct tls_context *sc = server_context(true);
    struct tls_context *cc =
        client_context((struct tls_client_conf){.verify = true, .pair = &pair});
    struct handshake h;

    shake(loop, sc, cc, "mx.example.test", &h);
    OK(h.server.verified, "a client's certificate is verified");
    TEXT(str_c(h.server.peer_name), "*.wild.test", "and named");
    IS(strlen(h.server.peer_hash), 64, "and hashed");
    tls_context_unref(cc);
    cc = client_context((struct tls_client_conf){.verify = true});
    shake(loop, sc, cc, "mx.example.test", &h);
    IS(h.client_status, 0, "none is fine too");
    tls_context_unref(cc);
    tls_context_unref(sc);
}

static void
test_dane(struct loop *loop)
{
    struct tls_context *sc = server_context(false), *cc, *never = NULL;
    struct tls_client_conf open = {.ca = slurp("ca.crt")}, bad = {0};
    char hash[32] = {0};
    struct tls_tlsa tlsa = {3, 0, 1, {hash, 32}}, pkix = {1, 0, 1, {hash, 32}};
    struct handshake h;
    struct why why;
    unsigned byte;

    cc = client_context(open);
    shake(loop, sc, cc, "mx.example.test", &h);
    tls_context_unref(cc);
    for (int i = 0; i < 32; i++) {
        sscanf(h.client.peer_hash + 2 * (size_t)i, "%2x", &byte);
        hash[i] = (char)byte;
    }
    cc = client_context((struct tls_client_conf){.tlsa = &tlsa, .ntlsa = 1});
    hash[0] ^= 1; /* the context has its own copy */
    shake(loop, sc, cc, "mx.example.test", &h);
    IS(h.client_status, 0, "DANE-EE matches %s", h.why);
    OK(h.client.verified, "and that verifies");
    tls_context_unref(cc);
    cc = client_context((struct tls_client_conf){.tlsa = &tlsa, .ntlsa = 1});
    shake(loop, sc, cc, "mx.example.test", &h);
    IS(h.client_status, ERR_TLS, "another certificate: %s", h.why);
    tls_context_unref(cc);
    bad.tlsa = &pkix;
    bad.ntlsa = 1;
    IS(tls_client_context(&never, &bad, &why), ERR_UNSUPPORTED, "%s", why.text);
    tls_context_unref(sc);
}

static size_t
act_starttls(struct party *a, const char *p, size_t n)
{
    ssize_t nl = str_chr(str_of(p, n), '\n');

    buf_add(&a->got, p, nl < 0 ? n : (size_t)nl + 1);
    if (nl < 0 || a->secured)
        return nl < 0 ? n : (size_t)nl + 1;
    a->act = NULL;
    party_say(a, "220 ready\n");
    if (a->step)
        stream_drop_pending(a->s);
    IS(stream_start_tls(a->s, a->tls, true, STR("")), 0, "TLS from inside data()");
    return (size_t)nl + 1;
}

static size_t
act_client_tls(struct party *a, const char *p, size_t n)
{
    buf_add(&a->got, p, n);
    a->act = NULL;
    IS(stream_start_tls(a->s, a->tls, false, STR("mx.example.test")), 0, "the client follows");
    return n;
}

static void
test_injection(struct loop *loop)
{
    struct tls_context *sc = server_context(false);
    struct tls_context *cc = client_context((struct tls_client_conf){.verify = true});
    struct party server = {.act = act_starttls, .tls = sc, .step = 1};
    struct party client = {.act = act_client_tls, .tls = cc};

    party_meet(loop, &server, &client, NULL);
    party_say(&client, "STARTTLS\nRCPT TO:<injected>\n");
    UNTIL(loop, server.secured && client.secured);
    IS(server.tls_status, 0, "TLS is up although plain text was pipelined behind STARTTLS");
    IS(client.tls_status, 0, "on both sides");
    TEXT(client.got, "220 ready\n", "the go-ahead went in plain text");
    party_say(&client, "EHLO\n");
    UNTIL(loop, server.got.n >= 14);
    TEXT(server.got, "STARTTLS\nEHLO\n", "the injected line is gone");
    party_part(&server, &client);

    server = (struct party){.act = act_starttls, .tls = sc}; /* did not drop */
    client = (struct party){0};
    party_meet(loop, &server, &client, NULL);
    party_say(&client, "STARTTLS\nRCPT TO:<injected>\n");
    UNTIL(loop, server.closed);
    IS(server.secured, 1, "what follows STARTTLS can only be TLS");
    IS(server.tls_status, ERR_TLS, "so the handshake fails: %s", server.why);
    TEXT(server.got, "STARTTLS\n", "and never reaches the session");
    party_part(&server, &client);
    tls_context_unref(sc);
    tls_context_unref(cc);
}

static size_t
act_header_then_tls(struct party *a, const char *p, size_t n)
{
    ssize_t nl = str_chr(str_of(p, n), '\n');

    buf_add(&a->got, p, (size_t)nl + 1);
    a->act = NULL;
    stream_start_tls(a->s, a->tls, true, STR(""));
    return (size_t)nl + 1;
}

/* The first TLS bytes came with a plain header (PROXY protocol before implicit TLS). */
static void
test_header_then_tls(struct loop *loop)
{
    struct tls_context *sc = server_context(false);
    struct tls_context *cc = client_context((struct tls_client_conf){.verify = true});
    struct party server = {.act = act_header_then_tls, .tls = sc}, client = {0};

    party_meet(loop, &server, &client, NULL);
    stream_pause(server.s);
    party_say(&client, "PROXY line\n");
    IS(stream_start_tls(client.s, cc, false, STR("mx.example.test")), 0, "hello right behind it");
    loop_once(loop, false);
    stream_resume(server.s);
    UNTIL(loop, server.secured && client.secured);
    IS(server.tls_status | client.tls_status, 0, "the hello behind the header was not lost");
    party_say(&client, "in tls");
    UNTIL(loop, server.got.n == 17);
    TEXT(server.got, "PROXY line\nin tls", "and words follow");
    party_part(&server, &client);
    tls_context_unref(sc);
    tls_context_unref(cc);
}

static size_t
act_dribble(struct party *a, const char *p, size_t n)
{
    size_t take = MIN(n, (size_t)3000 + a->step++ % 9000);

    buf_add(&a->got, p, take);
    if (take < n)
        loop_defer(a->loop, &a->call);
    return take;
}

static void
resume_party(void *ctx)
{
    stream_resume(((struct party *)ctx)->s);
}

static void
test_bulk(struct loop *loop)
{
    enum { N = 8000000 };
    struct stream_limits limits = {.max_queue = 2 * N};
    struct tls_context *sc = server_context(false);
    struct tls_context *cc = client_context((struct tls_client_conf){.verify = true});
    struct party server = {.act = act_dribble, .loop = loop}, client = {0};
    char *big = malloc(N);

    server.call = (struct loop_call){.fn = resume_party, .ctx = &server};
    for (int i = 0; i < N; i++)
        big[i] = (char)(i * 5 + i / 253);
    party_meet(loop, &server, &client, &limits);
    stream_start_tls(server.s, sc, true, STR(""));
    stream_start_tls(client.s, cc, false, STR("mx.example.test"));
    IS(stream_send(client.s, "x", 1), ERR_STATE, "nothing is sent within the handshake");
    UNTIL(loop, client.secured && server.secured);
    IS(stream_send(client.s, big, N), 0, "8 MB");
    UNTIL(loop, server.got.n == N || server.closed);
    OK(server.got.n == N && memcmp(server.got.p, big, N) == 0, "arrive whole through pauses");
    stream_close(client.s, true);
    client.s = NULL;
    UNTIL(loop, server.closed);
    IS(server.status, 0, "and end clean");
    loop_call_cancel(loop, &server.call);
    party_part(&server, &client);
    free(big);
    tls_context_unref(sc);
    tls_context_unref(cc);
}

static void
test_hostile(struct loop *loop)
{
    const struct str noise[] = {
        STR("GET / HTTP/1.0\r\n\r\n"),
        STR("\x16\x03\x01\xff\xff"),
        STR("\x16\x03\x01\x00\x05\x01\x00\x00\x01"),
        STR("\x80\x2e\x01\x03\x01\x00\x15\x00"),
        STR("\x15\x03\x01\x00\x02\x02\x28"),
        STR("\x17\x03\x03\x00\x01x"),
        STR("\x16\x03"),
    };
    struct tls_context *sc = server_context(false);

    for (size_t i = 0; i < ARRAY_LEN(noise); i++) {
        struct party server = {0}, client = {0};

        party_meet(loop, &server, &client, NULL);
        stream_start_tls(server.s, sc, true, STR(""));
        stream_send(client.s, noise[i].p, noise[i].n);
        stream_close(client.s, true);
        client.s = NULL;
        UNTIL(loop, server.closed);
        OK(server.secured == 1 && server.tls_status == ERR_TLS, "noise %d: %s", (int)i, server.why);
        IS(server.got.n, 0, "gives no words");
        party_part(&server, &client);
    }
    tls_context_unref(sc);
}

static void
resume_accept(void *ctx, int fd, const struct endpoint *peer)
{
    struct party *server = ctx;

    (void)peer;
    server->s = stream_create(server->loop, fd, &party_ops, server, NULL);
    stream_start_tls(server->s, server->tls, true, STR(""));
}

/* The openssl command as a client that keeps its session. */
static void
test_resumption(struct loop *loop, const char *version)
{
    struct tls_context *sc = server_context(false);
    struct endpoint e = {0};
    struct sockaddr_in in;
    socklen_t n = sizeof(in);
    struct listener *l;
    char where[64];
    int fd, status;

    endpoint_parse(STR("127.0.0.1:0"), 0, &e);
    fd = listener_bind(&e, 16);
    getsockname(fd, (struct sockaddr *)&in, &n);
    str_fmt(where, sizeof(where), "127.0.0.1:%u", ntohs(in.sin_port));
    for (int round = 0; round < 2; round++) {
        struct party server = {.loop = loop, .tls = sc};
        struct tls_info info = {0};
        const char *const argv[] = {"openssl",     "s_client", version,
                                    "-connect",    where,      "-servername",
                                    "wild.test",   "-ign_eof", round ? "-sess_in" : "-sess_out",
                                    at("session"), NULL};
        posix_spawn_file_actions_t act;
        pid_t pid, ended = 0;

        l = listener_create(loop, dup(fd), resume_accept, &server);
        posix_spawn_file_actions_init(&act);
        for (int i = 0; i < 3; i++)
            posix_spawn_file_actions_addopen(&act, i, "/dev/null", O_RDWR, 0);
        IS(posix_spawnp(&pid, "openssl", &act, NULL, (char *const *)(uintptr_t)argv, environ), 0,
           "openssl s_client %s", version);
        posix_spawn_file_actions_destroy(&act);
        UNTIL(loop, server.secured);
        OK(stream_tls_info(server.s, &info), "a session: %s %s", info.version, info.cipher);
        IS(info.resumed, round == 1, round ? "resumed by its ticket" : "new");
        stream_close(server.s, true);
        UNTIL(loop, ended == pid || (ended = waitpid(pid, &status, WNOHANG)) == pid);
        listener_free(l);
    }
    close(fd);
    tls_context_unref(sc);
}

static void
test_memory(struct loop *loop)
{
    enum { N = 50 };
    static struct party servers[N], clients[N];
    struct tls_context *sc = server_context(false);
    struct tls_context *cc = client_context((struct tls_client_conf){.verify = true});
    struct mallinfo2 before = mallinfo2(), after;

    for (int i = 0; i < N; i++) {
        party_meet(loop, &servers[i], &clients[i], NULL);
        stream_start_tls(servers[i].s, sc, true, STR(""));
        stream_start_tls(clients[i].s, cc, false, STR("mx.example.test"));
        UNTIL(loop, servers[i].secured && clients[i].secured);
        party_say(&clients[i], "x");
        UNTIL(loop, servers[i].got.n);
        buf_done(&servers[i].got);
    }
    after = mallinfo2();
    printf("# %d bytes for an idle TLS connection, both its ends\n",
           (int)((after.uordblks - before.uordblks) / N));
#ifndef __SANITIZE_ADDRESS__
    OK((after.uordblks - before.uordblks) / N < 40000 * 2, "an idle TLS session is small");
#endif
    for (int i = 0; i < N; i++)
        party_part(&servers[i], &clients[i]);
    tls_context_unref(sc);
    tls_context_unref(cc);
}

static void
test_bad_settings(void)
{
    struct tls_key_pair pair = {slurp("mx.crt"), slurp("wild.key")};
    struct tls_server_conf conf = {.pairs = &pair, .npairs = 1};
    struct tls_client_conf client = {.ca = STR("no pem")};
    struct tls_context *c = NULL;
    struct why why = {0};

    IS(tls_server_context(&c, &conf, &why), ERR_TLS, "key of another: %s", why.text);
    pair.certificate = STR("nonsense");
    IS(tls_server_context(&c, &conf, &why), ERR_TLS, "no PEM: %s", why.text);
    conf.npairs = 0;
    IS(tls_server_context(&c, &conf, &why), ERR_TLS, "no pair: %s", why.text);
    IS(tls_client_context(&c, &client, &why), ERR_TLS, "no roots: %s", why.text);
    OK(c == NULL, "nothing is returned");
    tls_context_unref(NULL);
}

int
main(void)
{
    struct loop *loop;

    if (!make_all()) {
        tap_skip("TLS", "the openssl command did not make certificates");
        return tap_done();
    }
    loop = loop_create();
    test_names(loop);
    test_client_certificates(loop);
    test_dane(loop);
    test_injection(loop);
    test_header_then_tls(loop);
    test_bulk(loop);
    test_hostile(loop);
    test_resumption(loop, "-tls1_2");
    test_resumption(loop, "-tls1_3");
    test_memory(loop);
    test_bad_settings();
    loop_free(loop);
    run((const char *const[]){"rm", "-r", dir, NULL});
    return tap_done();
}
