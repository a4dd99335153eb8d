/*
 * net/tls_session.c - one connection's TLS engine between bytes in memory and bytes in memory.
 *
 * OpenSSL reads from where the loop read the bytes and writes into the loop's buffer for the wire,
 * by a BIO of our own: one recv and one send per turn whatever the number of records, and an idle
 * session owns no buffer. Called by stream_tls.c; touches no descriptor.
 */
#include <pthread.h>

#include "core/addr.h"
#include "core/buf.h"
#include "net/tls_inner.h"

struct tls_session {
    SSL *ssl;
    struct tls_context *ctx;
    const char *in; /* fed and not yet read by the library */
    size_t in_n;
    struct buf *out;
};

static int
tls_bio_read(BIO *bio, char *dst, size_t cap, size_t *ret)
{
    struct tls_session *t = BIO_get_data(bio);
    size_t n = MIN(cap, t->in_n);

    BIO_clear_retry_flags(bio);
    *ret = n;
    if (n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(dst, t->in, n);
    t->in += n;
    t->in_n -= n;
    return 1;
}

static int
tls_bio_write(BIO *bio, const char *p, size_t n, size_t *ret)
{
    struct tls_session *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    buf_add(t->out, p, n);
    *ret = n;
    return t->out->failed ? 0 : 1;
}

static long
tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *tls_bio_method;
static pthread_once_t tls_bio_once = PTHREAD_ONCE_INIT;

static void
tls_bio_setup(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "loop buffers");

    if (m && BIO_meth_set_read_ex(m, tls_bio_read) && BIO_meth_set_write_ex(m, tls_bio_write) &&
        BIO_meth_set_ctrl(m, tls_bio_ctrl))
        tls_bio_method = m;
}

static BIO *
tls_bio_new(struct tls_session *t)
{
    BIO *bio;

    pthread_once(&tls_bio_once, tls_bio_setup);
    bio = tls_bio_method ? BIO_new(tls_bio_method) : NULL;
    if (bio) {
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* Client: SNI, the name that the certificate must carry, DANE. */
static bool
tls_session_name(struct tls_session *t, struct str name)
{
    struct tls_context *c = t->ctx;
    char host[256];
    struct addr ip;

    if (!str_copy(name, host, sizeof(host)))
        return false;
    if (c->ntlsa && SSL_dane_enable(t->ssl, host) <= 0)
        return false;
    if (c->ntlsa && tls_add_tlsa(t->ssl, c) == 0)
        return false;
    if (!host[0])
        return true;
    if (addr_parse(name, &ip) == 0)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host) == 1;
    SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(t->ssl, host) == 1 && SSL_set1_host(t->ssl, host) == 1;
}

struct tls_session *
tls_session_create(struct tls_context *c, bool server, struct str name, struct buf *out)
{
    struct tls_session *t = calloc(1, sizeof(*t));
    BIO *bio;

    if (!t)
        return NULL;
    t->ctx = tls_context_ref(c);
    t->out = out;
    t->ssl = SSL_new(c->pairs[0].ssl);
    bio = t->ssl ? tls_bio_new(t) : NULL;
    if (!bio) {
        tls_session_free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    if (server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    if (!server && !tls_session_name(t, name)) {
        ERR_clear_error();
        tls_session_free(t);
        return NULL;
    }
    return t;
}

void
tls_session_free(struct tls_session *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    tls_context_unref(t->ctx);
    free(t);
}

void
tls_session_feed(struct tls_session *t, const char *in, size_t n)
{
    t->in = in;
    t->in_n = n;
}

int
tls_session_handshake(struct tls_session *t, struct why *why)
{
    long verify;
    int r, e;

    ERR_clear_error();
    r = SSL_do_handshake(t->ssl);
    if (r == 1)
        return 1;
    e = SSL_get_error(t->ssl, r);
    if (e == SSL_ERROR_WANT_READ)
        return 0;
    verify = SSL_get_verify_result(t->ssl);
    if (t->ctx->verify && verify != X509_V_OK) {
        ERR_clear_error();
        return why_set(why, ERR_TLS, "the peer's certificate is not trusted: %s",
                       X509_verify_cert_error_string(verify));
    }
    return tls_why(why, "the TLS handshake failed");
}

ssize_t
tls_session_read(struct tls_session *t, char *dst, size_t cap, struct why *why)
{
    size_t done = 0;

    while (done < cap) { /* a record at a time: gather what there is */
        size_t n = 0;
        int e;

        ERR_clear_error();
        if (SSL_read_ex(t->ssl, dst + done, cap - done, &n) == 1) {
            done += n;
            continue;
        }
        e = SSL_get_error(t->ssl, 0);
        if (done || e == SSL_ERROR_WANT_READ)
            break; /* an error comes again with the next call */
        if (e == SSL_ERROR_ZERO_RETURN)
            return ERR_CLOSED;
        return tls_why(why, "the TLS connection broke");
    }
    return (ssize_t)done;
}

int
tls_session_write(struct tls_session *t, const char *p, size_t n, struct why *why)
{
    size_t done = 0;

    while (done < n) {
        size_t k = 0;

        ERR_clear_error();
        if (SSL_write_ex(t->ssl, p + done, n - done, &k) != 1)
            return tls_why(why, "TLS could not send");
        done += k;
    }
    return 0;
}

void
tls_session_shutdown(struct tls_session *t)
{
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl); /* our close_notify; the peer's is not waited for */
    ERR_clear_error();
}

static void
tls_info_peer(const struct tls_session *t, struct tls_info *ret)
{
    X509 *x = SSL_get1_peer_certificate(t->ssl);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!x)
        return;
    tls_first_name(x, ret->peer_name, sizeof(ret->peer_name));
    if (X509_digest(x, EVP_sha256(), hash, &n) == 1 && n == 32) {
        for (unsigned i = 0; i < n; i++)
            str_fmt(ret->peer_hash + 2 * (size_t)i, 3, "%02x", hash[i]);
    }
    X509_free(x);
    ret->verified = SSL_get_verify_result(t->ssl) == X509_V_OK;
}

void
tls_session_info(const struct tls_session *t, struct tls_info *ret)
{
    const char *sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);

    memset(ret, 0, sizeof(*ret));
    (void)str_copy(str_c(SSL_get_version(t->ssl)), ret->version, sizeof(ret->version));
    (void)str_copy(str_c(SSL_get_cipher_name(t->ssl)), ret->cipher, sizeof(ret->cipher));
    if (sni && !str_has_ctl(str_c(sni)))
        (void)str_copy(str_c(sni), ret->sni, sizeof(ret->sni));
    ret->resumed = SSL_session_reused(t->ssl) == 1;
    tls_info_peer(t, ret);
}

/* The server's certificate by the hash of its signature, at least SHA-256 (RFC 5929 4.1). */
static void
tls_endpoint(X509 *x, struct tls_binding *ret)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    int nid = NID_undef;
    const EVP_MD *md;
    unsigned n = 0;

    if (!x || !X509_get_signature_info(x, &nid, NULL, NULL, NULL))
        return;
    md = nid == NID_md5 || nid == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(nid);
    if (!md || X509_digest(x, md, hash, &n) != 1 || n > sizeof(ret->endpoint))
        return;
    memcpy(ret->endpoint, hash, n);
    ret->endpoint_n = (uint8_t)n;
}

/* Ours; of several keys for one name a resumed session does not say which it began with. */
static X509 *
tls_own_certificate(const struct tls_session *t)
{
    const SSL_CTX *ssl = SSL_get_SSL_CTX(t->ssl);

    for (size_t i = 0; i < t->ctx->npairs; i++) {
        if (t->ctx->pairs[i].ssl == ssl && t->ctx->pairs[i].nkeys > 1 &&
            SSL_session_reused(t->ssl) == 1)
            return NULL;
    }
    return SSL_get_certificate(t->ssl);
}

void
tls_session_binding(const struct tls_session *t, struct tls_binding *ret)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    X509 *peer = NULL;

    memset(ret, 0, sizeof(*ret));
    /* Before TLS 1.3 only the extended master secret makes it unique (RFC 9266 3). */
    if ((SSL_version(t->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(t->ssl) == 1) &&
        SSL_export_keying_material(t->ssl, ret->exporter, sizeof(ret->exporter), label,
                                   sizeof(label) - 1, (const unsigned char *)"", 0, 1) == 1)
        ret->exporter_n = sizeof(ret->exporter);
    if (!t->ctx->server)
        peer = SSL_get1_peer_certificate(t->ssl);
    tls_endpoint(t->ctx->server ? tls_own_certificate(t) : peer, ret);
    X509_free(peer);
    ERR_clear_error();
}
