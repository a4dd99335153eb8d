/*
 * bench/auth_bench.c - sender authentication against bars: `make bench ONLY=auth`.
 *
 * Prints "bar NAME measured X required Y ok|short". The bars are the crypto library's own rates,
 * which `openssl speed` tells in this same run, and libopendkim's CPU for the same message (loaded
 * if it is installed, else those rows are left out). CPU time of this process is measured, the best
 * of several rounds, so that neighbours on the machine count less.
 */
#include "core/openssl.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/dkim_sign.h"
#include "auth/spf.h"
#include "auth/zone.h"
#include "dkim_rig.h"

#define ROUNDS         60u
#define DKIM_RSA_BYTES 256u

struct rates { /* per second; of SHA-256: bytes */
    double rsa_sign, rsa_verify, ed_sign, sha_10k, sha_8m;
};
static struct rates openssl;
static unsigned shorts;

static double
cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds of CPU for one call: the best of many short rounds, one of which was left in peace. */
static double
seconds(void (*fn)(void *ctx), void *ctx, unsigned times)
{
    double best = 1e9;

    times = MAX(times / 10, 1u);
    for (unsigned r = 0; r < ROUNDS; r++) {
        double began = cpu();

        for (unsigned i = 0; i < times; i++)
            fn(ctx);
        best = MIN(best, (cpu() - began) / times);
    }
    return best;
}

static void
bar(const char *name, double measured, double required)
{
    bool good = measured >= required;

    printf("bar %s measured %.2f required %.2f %s\n", name, measured, required,
           good ? "ok" : "short");
    shorts += !good;
    fflush(stdout);
}

/* --- openssl speed --- */

static void
speed_run(const char *const argv[], char *dst, size_t cap)
{
    int fds[2], status;
    size_t n = 0;
    ssize_t got;
    pid_t pid;

    dst[0] = '\0';
    if (pipe(fds) < 0)
        return;
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], 1);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
        execvp("openssl", (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(fds[1]);
    while (n + 1 < cap && (got = read(fds[0], dst + n, cap - 1 - n)) > 0)
        n += (size_t)got;
    dst[n] = '\0';
    close(fds[0]);
    if (pid > 0)
        waitpid(pid, &status, 0);
}

/* The number in column `at` of the line that starts with `head`. */
static double
speed_column(const char *text, const char *head, unsigned at)
{
    const char *line = strstr(text, head);

    for (; line && at; at--) {
        line = strchr(line, ':');
        line = line ? line + 1 : NULL;
    }
    return line ? strtod(line, NULL) : 0;
}

static void
speed(void)
{
    static const char *const keys[] = {"openssl", "speed",   "-mr",     "-seconds",
                                       "2",       "rsa2048", "ed25519", NULL};
    static const char *const small[] = {"openssl", "speed", "-mr",  "-seconds", "2",
                                        "-bytes",  "10240", "-evp", "sha256",   NULL};
    static const char *const big[] = {"openssl", "speed",   "-mr",  "-seconds", "2",
                                      "-bytes",  "8388608", "-evp", "sha256",   NULL};
    char text[8192];

    speed_run(keys, text, sizeof(text));
    openssl.rsa_sign = speed_column(text, "+F2:", 3);
    openssl.rsa_verify = speed_column(text, "+F2:", 4);
    openssl.ed_sign = speed_column(text, "+F6:", 4);
    speed_run(small, text, sizeof(text));
    openssl.sha_10k = speed_column(text, "+F:", 3);
    speed_run(big, text, sizeof(text));
    openssl.sha_8m = speed_column(text, "+F:", 3);
    printf(
        "openssl speed: rsa2048 %.0f sign/s %.0f verify/s, ed25519 %.0f sign/s, sha256 %.0f MB/s "
        "at 10 KB, %.0f MB/s at 8 MB\n",
        openssl.rsa_sign, openssl.rsa_verify, openssl.ed_sign, openssl.sha_10k / 1e6,
        openssl.sha_8m / 1e6);
}

/* --- material --- */

static char rsa_pem[4096];

static struct dkim_private *
new_key(bool rsa)
{
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    struct dkim_private *k = NULL;
    struct str why;
    char *p;
    long n;

    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    n = BIO_get_mem_data(bio, &p);
    dkim_private_load(str_of(p, (size_t)n), &k, &why);
    if (rsa)
        str_copy(str_of(p, (size_t)n), rsa_pem, sizeof(rsa_pem));
    BIO_free(bio);
    EVP_PKEY_free(key);
    return k;
}

static const char header[] =
    "Received: from client.example.org (client.example.org [192.0.2.7])\r\n"
    "\tby mx.example.com with ESMTPS id 1234567890abcdef\r\n"
    "\tfor <someone@example.net>; Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    "From: The Sender <sender@example.com>\r\n"
    "To: Some One <someone@example.net>\r\n"
    "Subject: The monthly report, with a subject of usual length\r\n"
    "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
    "Message-ID: <20261123100000.12345@example.com>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 7bit\r\n"
    "\r\n";

static void
prose(struct buf *b, size_t n)
{
    static const char *const lines[] = {
        "It was a bright cold day in April, and the clocks were striking thirteen.\r\n",
        "The quick brown fox jumps over the lazy dog, as it did the day before that.\r\n",
        "\r\n",
        "Figures of the month: 12.5 in the north, 13.1 in the south.  They are up again.\r\n",
        "We are in receipt of your letter of the 3rd and answer it below, point by point.\r\n",
        "> quoted text stands here, and is quoted once more > as people do, line by line\r\n",
    };

    for (unsigned i = 0; b->n < n; i++)
        buf_c(b, lines[i % ARRAY_LEN(lines)]);
}

struct job {
    struct dkim_message *m;
    struct dkim_verifier *v;
    struct dkim_private *key;
    struct dkim_keys *keys;
    struct rig_dns *dns;
    struct dkim_sign_params params;
    struct str head, body, whole, signed_head;
    struct buf out;
    enum dkim_canon canon;
};

static void
sign_one(void *ctx)
{
    struct job *j = ctx;

    buf_clear(&j->out);
    dkim_message_headers(j->m, j->head, &dkim_limits_default);
    dkim_sign_prepare(j->m, j->params.body_canon);
    dkim_message_body(j->m, j->body.p, j->body.n);
    dkim_message_end(j->m);
    ENSURE(dkim_sign(j->m, &j->params, dkim_private_sign, j->key, &j->out, NULL) == 0);
}

static void
verify_one(void *ctx)
{
    struct job *j = ctx;

    rig_verify_parts(j->v, j->m, j->signed_head, j->body, 0, j->dns, j->keys, &dkim_limits_default,
                     1764000000);
    ENSURE(j->v->n == 1 && j->v->results[0].status == DKIM_PASS);
}

static void
hash_one(void *ctx)
{
    struct job *j = ctx;

    dkim_message_headers(j->m, j->head, &dkim_limits_default);
    dkim_body_want(&j->m->body, j->canon, false, UINT64_MAX);
    for (size_t at = 0; at < j->body.n; at += 65536) {
        struct str piece = str_sub(j->body, at, 65536);
        dkim_message_body(j->m, piece.p, piece.n);
    }
    dkim_message_end(j->m);
}

/* --- libopendkim: loaded apart, its names are the same as some of ours --- */

struct peer {
    void *(*init)(void *, void *);
    int (*options)(void *, int, int, void *, size_t);
    void *(*sign)(void *, const unsigned char *, void *, unsigned char *, const unsigned char *,
                  const unsigned char *, int, int, int, ssize_t, int *);
    void *(*verify)(void *, const unsigned char *, void *, int *);
    int (*chunk)(void *, const unsigned char *, size_t);
    int (*eom)(void *, bool *);
    int (*getsighdr)(void *, unsigned char *, size_t, size_t);
    int (*free)(void *);
    int (*set_key_lookup)(void *, int (*)(void *, void *, unsigned char *, size_t));
    void *lib;
    struct str head, body, whole;
    unsigned char *pem;
};
static struct peer peer;
static char peer_record[2048];

static int
peer_key(void *dkim, void *sig, unsigned char *buf, size_t n)
{
    (void)dkim, (void)sig;
    str_copy(str_c(peer_record), (char *)buf, n);
    return 0;
}

static void
peer_sign(void *ctx)
{
    unsigned char field[4096];
    int status = 0;
    void *d;

    (void)ctx;
    d = peer.sign(peer.lib, (const unsigned char *)"id", NULL, peer.pem,
                  (const unsigned char *)"sel", (const unsigned char *)"example.com", 1, 1, 1, -1,
                  &status);
    ENSURE(d);
    peer.chunk(d, (const unsigned char *)peer.head.p, peer.head.n);
    peer.chunk(d, (const unsigned char *)peer.body.p, peer.body.n);
    peer.chunk(d, NULL, 0);
    ENSURE(peer.eom(d, NULL) == 0 && peer.getsighdr(d, field, sizeof(field), 16) == 0);
    peer.free(d);
}

static void
peer_verify(void *ctx)
{
    int status = 0;
    bool testing;
    void *d = peer.verify(peer.lib, (const unsigned char *)"id", NULL, &status);

    (void)ctx;
    ENSURE(d);
    peer.chunk(d, (const unsigned char *)peer.whole.p, peer.whole.n);
    peer.chunk(d, NULL, 0);
    ENSURE(peer.eom(d, &testing) == 0);
    peer.free(d);
}

static bool
peer_load(void)
{
    void *so = dlopen("libopendkim.so.11", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    const struct {
        const char *name;
        void *to;
    } names[] = {
        {"dkim_init", &peer.init},
        {"dkim_options", &peer.options},
        {"dkim_sign", &peer.sign},
        {"dkim_verify", &peer.verify},
        {"dkim_chunk", &peer.chunk},
        {"dkim_eom", &peer.eom},
        {"dkim_getsighdr", &peer.getsighdr},
        {"dkim_free", &peer.free},
        {"dkim_set_key_lookup", &peer.set_key_lookup},
    };

    for (size_t i = 0; so && i < ARRAY_LEN(names); i++) {
        void *p = dlsym(so, names[i].name);
        if (!p)
            return false;
        memcpy(names[i].to, &p, sizeof(p));
    }
    peer.lib = so ? peer.init(NULL, NULL) : NULL;
    return peer.lib && peer.set_key_lookup(peer.lib, peer_key) == 0;
}

/* The signature alone, with the same key. */
static void
sign_raw(void *ctx)
{
    struct job *j = ctx;
    uint8_t digest[DKIM_HASH_MAX] = {1}, signature[DKIM_SIGNATURE_MAX];

    dkim_private_sign(j->key, DKIM_RSA_SHA256, digest, sizeof(digest), signature,
                      sizeof(signature));
}

static void
against_peer(struct job *j, double our_sign, double our_verify)
{
    double sign, verify, own = seconds(sign_raw, j, 400);

    if (!peer_load()) {
        printf("libopendkim is not installed: its rows are left out\n");
        return;
    }
    peer.head = j->head;
    peer.body = j->body;
    peer.whole = j->whole;
    peer.pem = (unsigned char *)(uintptr_t)rsa_pem;
    sign = seconds(peer_sign, NULL, 300);
    verify = seconds(peer_verify, NULL, 2000);
    printf("opendkim: sign %.1f us, verify %.1f us; gapura: sign %.1f us, verify %.1f us\n",
           sign * 1e6, verify * 1e6, our_sign * 1e6, our_verify * 1e6);
    bar("dkim-verify-times-opendkim", verify / our_verify, 5);
    bar("dkim-sign-overhead-opendkim-over-ours", (sign - own) / MAX(our_sign - own, 1e-6), 5);
}

/* --- the rows --- */

static void
job_init(struct job *j, bool rsa, size_t body)
{
    static struct dkim_verifier verifier;
    struct buf text;

    memset(j, 0, sizeof(*j));
    buf_init(&text, 64u << 20);
    prose(&text, body);
    j->m = dkim_message_create();
    j->v = &verifier;
    j->head = STR(header);
    j->body = buf_view(&text);
    j->keys = dkim_keys_create(16, 1, &dkim_limits_default);
    j->dns = calloc(1, sizeof(*j->dns));
    j->key = new_key(rsa);
    j->params = (struct dkim_sign_params){.domain = STR("example.com"),
                                          .selector = STR("sel"),
                                          .alg = dkim_private_alg(j->key),
                                          .header_canon = DKIM_RELAXED,
                                          .body_canon = DKIM_RELAXED,
                                          .now = 1763890000};
    buf_init(&j->out, 65536);
}

/* Makes a signed message of it and publishes the key. */
static void
job_publish(struct job *j, bool rsa)
{
    struct buf all;
    char p[1024];

    sign_one(j);
    buf_init(&all, 64u << 20);
    buf_str(&all, buf_view(&j->out));
    buf_str(&all, j->head);
    buf_str(&all, j->body);
    j->whole = buf_view(&all);
    j->signed_head = str_sub(j->whole, 0, j->out.n + j->head.n);
    dkim_private_public(j->key, p, sizeof(p));
    str_fmt(peer_record, sizeof(peer_record), "v=DKIM1; k=%s; p=%s", rsa ? "rsa" : "ed25519", p);
    rig_dns_txt(j->dns, "sel._domainkey.example.com", peer_record);
}

/* What verification hashes: the body, the signed fields and the signature without its b=. */
static double
hashed_bytes(const struct job *j)
{
    size_t unsigned_n = (size_t)str_find(j->head, STR("From:")); /* Received */
    size_t b = (DKIM_RSA_BYTES + 2) / 3 * 4;

    return (double)(j->body.n + j->signed_head.n - unsigned_n - b);
}

/* --- SPF: a record with four includes, the client in the last; all answers known --- */

struct spf_job {
    struct zone *zone;
    struct spf_input in;
    struct arena arena;
    struct auth_needs needs;
};

static void
spf_one(void *ctx)
{
    struct spf_job *j = ctx;
    struct spf_verdict v;

    arena_reset(&j->arena);
    ENSURE(spf_run(&j->in, zone_answers(j->zone), &j->needs, &j->arena, &v) == AUTH_DONE);
    ENSURE(v.result == SPF_PASS && v.terms == 6);
}

/* What a company with a few providers publishes. */
static const char spf_zone[] =
    "example.com TXT \"v=spf1 ip4:198.51.100.0/24 include:_spf.one.test include:spf.two.test "
    "include:mail.three.test include:_netblocks.four.test ~all\"\n"
    "_spf.one.test TXT \"v=spf1 ip4:203.0.113.0/26 ip4:203.0.113.64/26 ip4:203.0.113.128/25 "
    "ip6:2001:db8:1::/48 ip6:2001:db8:2::/48 ~all\"\n"
    "spf.two.test TXT \"v=spf1 ip4:10.1.0.0/16 ip4:10.2.0.0/16 ip4:10.3.0.0/16 ip4:10.4.0.0/16 "
    "ip4:10.5.1.0/24 ip4:10.5.2.0/24 -all\"\n"
    "mail.three.test TXT \"v=spf1 a mx ip4:10.6.0.0/20 ?all\"\n"
    "mail.three.test A 10.7.0.1\n"
    "mail.three.test MX 10 mx1.three.test.\n"
    "mail.three.test MX 20 mx2.three.test.\n"
    "mx1.three.test A 10.7.0.2\n"
    "mx2.three.test A 10.7.0.3\n"
    "_netblocks.four.test TXT \"v=spf1 ip4:10.8.0.0/16 ip4:10.9.0.0/16 ip4:192.0.2.0/24 -all\"\n";

static void
spf_rows(void)
{
    static struct spf_job j;
    unsigned rounds = 0;
    struct spf_verdict v;
    double one;

    j.zone = zone_create(1u << 20);
    ENSURE(j.zone && zone_read(j.zone, STR(spf_zone), NULL) == 0);
    j.in = (struct spf_input){.helo = STR("mx.example.com"),
                              .local = STR("someone"),
                              .domain = STR("example.com"),
                              .receiver = STR("mx.example.net"),
                              .time = 1764000000};
    ENSURE(addr_parse(STR("192.0.2.7"), &j.in.ip) == 0);
    arena_init(&j.arena, 1u << 20);
    while (spf_run(&j.in, zone_answers(j.zone), &j.needs, &j.arena, &v) == AUTH_NEED &&
           zone_ask(j.zone, &j.needs) == 0)
        rounds++;
    one = seconds(spf_one, &j, 20000);
    printf("spf: %u rounds of look-ups when cold, %.2f us warm\n", rounds, one * 1e6);
    bar("spf-warm-four-includes-per-second", 1 / one, 100000);
    arena_done(&j.arena);
    zone_free(j.zone);
}

int
main(void)
{
    static struct job ed, rsa, big;
    double sha, sign, verify, raw;

    spf_rows();
    speed();
    if (openssl.rsa_sign <= 0 || openssl.sha_8m <= 0) {
        fprintf(stderr, "auth_bench: `openssl speed -mr` told no rates\n");
        return 2;
    }
    job_init(&ed, false, 10240);
    job_init(&rsa, true, 10240);
    job_init(&big, false, 10u << 20);
    sha = (double)rsa.body.n / openssl.sha_10k;
    job_publish(&ed, false);
    job_publish(&rsa, true);
    sign = seconds(sign_one, &rsa, 400);
    bar("dkim-sign-rsa2048-10k-of-openssl", 1 / sign / openssl.rsa_sign, 0.90);
    bar("dkim-sign-ed25519-10k-of-openssl-and-sha",
        (1 / openssl.ed_sign + sha) / seconds(sign_one, &ed, 2000), 0.85);
    verify = seconds(verify_one, &rsa, 4000);
    bar("dkim-verify-rsa2048-10k-of-openssl-and-sha",
        (1 / openssl.rsa_verify + hashed_bytes(&rsa) / openssl.sha_10k) / verify, 0.85);
    raw = (double)big.body.n / openssl.sha_8m;
    big.canon = DKIM_SIMPLE;
    bar("dkim-hash-simple-10m-of-sha", raw / seconds(hash_one, &big, 10), 0.90);
    big.canon = DKIM_RELAXED;
    bar("dkim-hash-relaxed-10m-of-sha", raw / seconds(hash_one, &big, 10), 0.65);
    against_peer(&rsa, sign, verify);
    printf("%u short\n", shorts);
    return shorts ? 1 : 0;
}
