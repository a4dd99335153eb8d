/*
 * tests/support/dkim_peer.c - our side of the differential tests (tests/system/test_auth_peers.py).
 *
 *   dkim_peer sign KEY SELECTOR DOMAIN CANON FILE...   writes FILE.signed (CANON: "relaxed/simple")
 *   dkim_peer verify RECORD NAME FILE...               a line each: FILE STATUS REASON
 *
 * RECORD is a file with the key record, NAME the name that it is published under.
 */
#include "auth/dkim_sign.h"
#include "dkim_rig.h"

static bool
load(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "rb");
    char piece[65536];
    size_t n;

    buf_init(ret, 64u << 20);
    if (!f)
        return false;
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(ret, piece, n);
    fclose(f);
    return true;
}

static int
sign_file(struct dkim_message *m, struct dkim_private *key, const struct dkim_sign_params *p,
          const char *path)
{
    struct buf CLEANUP(buf_done) text = {0};
    struct buf CLEANUP(buf_done) out = {0};
    struct why why = {""};
    struct str all, header;
    char to[4096];
    ssize_t end;
    FILE *f;

    if (!load(path, &text))
        return 1;
    all = buf_view(&text);
    end = str_find(all, STR("\r\n\r\n"));
    header = end < 0 ? all : str_sub(all, 0, (size_t)end + 4);
    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_sign_prepare(m, p->body_canon);
    dkim_message_body(m, all.p + header.n, all.n - header.n);
    dkim_message_end(m);
    buf_init(&out, 65536);
    if (dkim_sign(m, p, dkim_private_sign, key, &out, &why) < 0) {
        fprintf(stderr, "%s: %s\n", path, why.text);
        return 1;
    }
    str_fmt(to, sizeof(to), "%s.signed", path);
    f = fopen(to, "wb");
    if (!f)
        return 1;
    fwrite(out.p, 1, out.n, f);
    fwrite(all.p, 1, all.n, f);
    fclose(f);
    return 0;
}

static int
sign_all(int argc, char **argv)
{
    struct dkim_message *m = dkim_message_create();
    struct buf CLEANUP(buf_done) pem = {0};
    struct dkim_sign_params p = {.now = 1763890000};
    struct dkim_private *key;
    struct str why;
    int bad = 0;

    if (argc < 7 || !load(argv[2], &pem) || dkim_private_load(buf_view(&pem), &key, &why) < 0)
        return 2;
    p.selector = str_c(argv[3]);
    p.domain = str_c(argv[4]);
    p.alg = dkim_private_alg(key);
    p.header_canon = str_starts(str_c(argv[5]), STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
    p.body_canon = str_ends(str_c(argv[5]), STR("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
    for (int i = 6; i < argc; i++)
        bad += sign_file(m, key, &p, argv[i]);
    dkim_private_free(key);
    dkim_message_free(m);
    return bad ? 1 : 0;
}

static int
verify_all(int argc, char **argv)
{
    static struct dkim_verifier v;
    static struct rig_dns dns;
    struct dkim_keys *keys = dkim_keys_create(16, 1, &dkim_limits_default);
    struct dkim_message *m = dkim_message_create();
    struct buf CLEANUP(buf_done) record = {0};

    if (argc < 5 || !load(argv[2], &record))
        return 2;
    rig_dns_add(&dns, str_c(argv[3]), DNS_OK, buf_view(&record));
    for (int i = 4; i < argc; i++) {
        struct buf CLEANUP(buf_done) text = {0};

        load(argv[i], &text);
        rig_verify(&v, m, buf_view(&text), 1 + (size_t)i % 97, &dns, keys, &dkim_limits_default,
                   1800000000);
        printf("%s %s %s\n", argv[i], v.n ? dkim_status_name(v.results[0].status) : "none",
               v.n ? dkim_reason_text(v.results[0].reason) : "no signature");
    }
    rig_dns_done(&dns);
    dkim_keys_free(keys);
    dkim_message_free(m);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "sign"))
        return sign_all(argc, argv);
    if (argc > 1 && !strcmp(argv[1], "verify"))
        return verify_all(argc, argv);
    fprintf(stderr, "usage: dkim_peer sign|verify ...\n");
    return 2;
}
