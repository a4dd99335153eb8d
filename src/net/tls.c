/*
 * net/tls.c - TLS contexts: certificates by name for servers, trust for clients.
 *
 * Called by roles when settings are loaded (before the sandbox closes) and by the courier per
 * policy. Reads PEM texts, never files, but for the system's roots.
 */

#include <time.h>

#include "net/tls_inner.h"

#define TLS_MAX_NAMES   20000u
#define TLS_MAX_CHAIN   16u
#define TLS_TICKETS     1 /* of TLS 1.3: SMTP clients come back with one connection at a time */
#define TLS_CIPHERS     "DEFAULT:!aNULL:!eNULL:!kRSA"
#define TLS_CIPHERS_OLD "ALL:!aNULL:!eNULL:@SECLEVEL=0"

int
tls_why(struct why *why, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    why_set(why, ERR_TLS, "%s: %s", what, reason ? reason : "the TLS library gave no reason");
    ERR_clear_error();
    return ERR_TLS;
}

static int
tls_no_password(char *dst, int cap, int writing, void *ctx)
{
    (void)dst;
    (void)cap;
    (void)writing;
    (void)ctx;
    return 0; /* never asks at a terminal */
}

static BIO *
tls_text(struct str pem)
{
    return pem.n && pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

static bool
tls_name_fits(const ASN1_STRING *s, char *dst, size_t cap)
{
    int n = ASN1_STRING_length(s);

    if (n <= 0 || !str_copy(str_of(ASN1_STRING_get0_data(s), (size_t)n), dst, cap))
        return false;
    str_lower(dst, (size_t)n);
    return !str_has_ctl(str_c(dst));
}

/* Calls fn with each DNS name, or with the common name if there are none. */
static void
tls_each_name(X509 *x, void (*fn)(void *ctx, const char *name), void *ctx)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool found = names != NULL; /* the common name is for those without any (RFC 6125 6.4.4) */
    char text[256];

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type != GEN_DNS || !tls_name_fits(g->d.dNSName, text, sizeof(text)))
            continue;
        fn(ctx, text);
    }
    GENERAL_NAMES_free(names);
    if (!found) {
        X509_NAME *subject = X509_get_subject_name(x);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        X509_NAME_ENTRY *e = at >= 0 ? X509_NAME_get_entry(subject, at) : NULL;

        if (e && tls_name_fits(X509_NAME_ENTRY_get_data(e), text, sizeof(text)))
            fn(ctx, text);
    }
    ERR_clear_error();
}

struct tls_first {
    char *dst;
    size_t cap;
};

static void
tls_take_first(void *ctx, const char *name)
{
    struct tls_first *f = ctx;

    if (!f->dst[0])
        (void)str_copy(str_c(name), f->dst, f->cap);
}

void
tls_first_name(X509 *x, char *dst, size_t cap)
{
    struct tls_first f = {dst, cap};

    dst[0] = '\0';
    tls_each_name(x, tls_take_first, &f);
}

struct tls_register {
    struct tls_context *c;
    SSL_CTX *ssl;
    int err;
};

static void
tls_register_name(void *ctx, const char *name)
{
    struct tls_register *r = ctx;
    struct str view = str_c(name);
    char *key;

    if (map_get(&r->c->names, view))
        return; /* the first pair that has a name keeps it */
    key = malloc(view.n + 1);
    if (!key) {
        r->err = ERR_NOMEM;
        return;
    }
    memcpy(key, view.p, view.n + 1);
    if (map_put(&r->c->names, str_of(key, view.n), r->ssl) < 0) {
        free(key);
        r->err = ERR_LIMIT;
    }
}

static SSL_CTX *
tls_find(const struct tls_context *c, struct str name)
{
    char star[260] = "*";
    SSL_CTX *found = map_get(&c->names, name);
    ssize_t dot;

    if (found)
        return found;
    dot = str_chr(name, '.');
    if (dot <= 0 || !str_copy(str_from(name, (size_t)dot), star + 1, sizeof(star) - 1))
        return NULL;
    return map_get(&c->names, str_c(star));
}

static int
tls_servername(SSL *ssl, int *alert, void *ctx)
{
    const struct tls_context *c = ctx;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *found = name ? tls_find(c, str_c(name)) : NULL;

    (void)alert;
    if (found && found != SSL_get_SSL_CTX(ssl))
        SSL_set_SSL_CTX(ssl, found);
    return SSL_TLSEXT_ERR_OK; /* an unknown name gets the default certificate: senders rarely care
                               */
}

static int
tls_accept_any(int good, X509_STORE_CTX *store)
{
    (void)good; /* the result is kept and shown; whether it matters is the caller's policy */
    (void)store;
    return 1;
}

static SSL_CTX *
tls_ctx_new(const SSL_METHOD *method, bool legacy)
{
    SSL_CTX *ssl = SSL_CTX_new(method);

    if (!ssl)
        return NULL;
    SSL_CTX_set_min_proto_version(ssl, legacy ? TLS1_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(ssl, tls_no_password);
    if (!SSL_CTX_set_cipher_list(ssl, legacy ? TLS_CIPHERS_OLD : TLS_CIPHERS)) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    return ssl;
}

static int
tls_use_key(SSL_CTX *ssl, struct str pem, struct why *why)
{
    BIO *bio = tls_text(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, NULL) : NULL;
    int err = 0;

    BIO_free(bio);
    if (!key)
        return tls_why(why, "the private key cannot be read (PEM without a password is needed)");
    if (SSL_CTX_use_PrivateKey(ssl, key) != 1 || SSL_CTX_check_private_key(ssl) != 1)
        err = tls_why(why, "the private key does not belong to the certificate");
    EVP_PKEY_free(key);
    return err;
}

static int
tls_use_chain(SSL_CTX *ssl, BIO *bio, struct why *why)
{
    X509 *x;

    SSL_CTX_clear_chain_certs(ssl);
    for (unsigned i = 0; (x = PEM_read_bio_X509(bio, NULL, tls_no_password, NULL)); i++) {
        if (i >= TLS_MAX_CHAIN || SSL_CTX_add0_chain_cert(ssl, x) != 1) {
            X509_free(x);
            return tls_why(why, "the certificate chain is too long or not usable");
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return tls_why(why, "a certificate of the chain cannot be read");
    ERR_clear_error();
    return 0;
}

static X509 *
tls_read_leaf(struct str pem, BIO **ret_bio)
{
    X509 *leaf;

    *ret_bio = tls_text(pem);
    leaf = *ret_bio ? PEM_read_bio_X509(*ret_bio, NULL, tls_no_password, NULL) : NULL;
    if (!leaf) {
        BIO_free(*ret_bio);
        *ret_bio = NULL;
    }
    return leaf;
}

/* `bio` stands behind the leaf. */
static int
tls_use_leaf(SSL_CTX *ssl, X509 *leaf, BIO *bio, struct str key, struct why *why)
{
    int err = SSL_CTX_use_certificate(ssl, leaf) == 1
                  ? 0
                  : tls_why(why, "the certificate is not usable (a key too short, perhaps)");

    if (!err)
        err = tls_use_chain(ssl, bio, why);
    if (!err)
        err = tls_use_key(ssl, key, why);
    return err;
}

/* The pair that has this name with other kinds of key, so that both serve; else a new one. */
static struct tls_pair *
tls_pair_for(struct tls_context *c, const char *first, int key_type, bool legacy)
{
    struct tls_pair *p;

    for (p = c->pairs; p < c->pairs + c->npairs; p++) {
        bool has = p->nkeys >= ARRAY_LEN(p->key_types);

        for (unsigned i = 0; i < p->nkeys; i++)
            has = has || p->key_types[i] == key_type;
        if (first[0] && !has && str_eq(str_c(p->first), str_c(first)))
            return p;
    }
    p->ssl = tls_ctx_new(TLS_server_method(), legacy);
    if (!p->ssl)
        return NULL;
    (void)str_copy(str_c(first), p->first, sizeof(p->first));
    c->npairs++;
    return p;
}

static int
tls_add_pair(struct tls_context *c, const struct tls_key_pair *pair, bool legacy, struct why *why)
{
    struct tls_register r = {.c = c};
    struct tls_pair *p;
    char first[256];
    BIO *bio;
    X509 *leaf = tls_read_leaf(pair->certificate, &bio);
    int err, type;

    if (!leaf)
        return tls_why(why, "the certificate cannot be read (PEM is needed)");
    tls_first_name(leaf, first, sizeof(first));
    type = EVP_PKEY_get_base_id(X509_get0_pubkey(leaf));
    p = tls_pair_for(c, first, type, legacy);
    err = p ? tls_use_leaf(p->ssl, leaf, bio, pair->key, why) : ERR_NOMEM;
    if (!err) {
        p->key_types[p->nkeys++] = type;
        r.ssl = p->ssl;
        tls_each_name(leaf, tls_register_name, &r);
        err = r.err;
    }
    X509_free(leaf);
    BIO_free(bio);
    return err;
}

/* PEM roots into a store; `ret_names` (may be NULL) gets their subjects. */
static int
tls_add_roots(SSL_CTX *ssl, struct str pem, STACK_OF(X509_NAME) * names, struct why *why)
{
    BIO *bio = tls_text(pem);
    unsigned n = 0;
    X509 *x;

    while (bio && (x = PEM_read_bio_X509(bio, NULL, tls_no_password, NULL))) {
        X509_NAME *subject = names ? X509_NAME_dup(X509_get_subject_name(x)) : NULL;

        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), x) == 1)
            n++;
        if (subject && !sk_X509_NAME_push(names, subject))
            X509_NAME_free(subject);
        X509_free(x);
    }
    BIO_free(bio);
    if (n == 0)
        return tls_why(why, "no trusted certificate could be read");
    ERR_clear_error();
    return 0;
}

static int
tls_server_finish(struct tls_context *c, SSL_CTX *ssl, const struct tls_server_conf *conf,
                  struct why *why)
{
    static const unsigned char id[] = "gapura";

    SSL_CTX_set_session_id_context(ssl, id, sizeof(id) - 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* tickets hold the state */
    SSL_CTX_set_num_tickets(ssl, TLS_TICKETS);
    SSL_CTX_set_dh_auto(ssl, 1);
    SSL_CTX_set_tlsext_servername_callback(ssl, tls_servername);
    SSL_CTX_set_tlsext_servername_arg(ssl, c);
    if (conf->client_ca.n) {
        STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
        int err = names ? tls_add_roots(ssl, conf->client_ca, names, why) : ERR_NOMEM;

        if (err) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return err;
        }
        SSL_CTX_set_client_CA_list(ssl, names);
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, tls_accept_any);
    }
    return 0;
}

int
tls_server_context(struct tls_context **ret, const struct tls_server_conf *conf, struct why *why)
{
    struct tls_context *c;
    int err = 0;

    if (conf->npairs == 0)
        return why_set(why, ERR_TLS, "no certificate is set, so TLS cannot be offered");
    c = calloc(1, sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    c->refs = 1;
    c->server = true;
    map_init(&c->names, TLS_MAX_NAMES, true);
    c->pairs = calloc(conf->npairs, sizeof(*c->pairs));
    if (!c->pairs)
        err = ERR_NOMEM;
    for (size_t i = 0; i < conf->npairs && !err; i++)
        err = tls_add_pair(c, &conf->pairs[i], conf->legacy, why);
    for (size_t i = 0; i < c->npairs && !err; i++)
        err = tls_server_finish(c, c->pairs[i].ssl, conf, why);
    if (err) {
        tls_context_unref(c);
        return err == ERR_NOMEM ? why_set(why, err, "no memory for the certificates") : err;
    }
    *ret = c;
    return 0;
}

unsigned
tls_add_tlsa(SSL *ssl, const struct tls_context *c)
{
    unsigned usable = 0;

    for (size_t i = 0; i < c->ntlsa; i++) {
        const struct tls_tlsa *t = &c->tlsa[i];

        /* RFC 7672 3.1.3: PKIX-TA(0) and PKIX-EE(1) are not used for SMTP. */
        if ((t->usage == 2 || t->usage == 3) &&
            SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching,
                              (const unsigned char *)t->data.p, t->data.n) > 0)
            usable++;
    }
    ERR_clear_error();
    return usable;
}

static int
tls_client_dane(struct tls_context *c, const struct tls_client_conf *conf, struct why *why)
{
    SSL_CTX *ssl = c->pairs[0].ssl;
    unsigned usable = 0;
    SSL *probe;

    c->tlsa = calloc(conf->ntlsa, sizeof(*c->tlsa));
    if (!c->tlsa)
        return ERR_NOMEM;
    for (size_t i = 0; i < conf->ntlsa; i++) {
        char *copy = malloc(conf->tlsa[i].data.n + 1);

        if (!copy)
            return ERR_NOMEM;
        memcpy(copy, conf->tlsa[i].data.p, conf->tlsa[i].data.n);
        c->tlsa[i] = conf->tlsa[i];
        c->tlsa[i].data.p = copy;
        c->ntlsa = i + 1;
    }
    if (SSL_CTX_dane_enable(ssl) <= 0)
        return tls_why(why, "DANE cannot be used");
    SSL_CTX_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* RFC 7672 3.1.1 */
    probe = SSL_new(ssl);
    if (probe && SSL_dane_enable(probe, "probe.invalid") > 0)
        usable = tls_add_tlsa(probe, c);
    SSL_free(probe);
    return usable ? 0 : why_set(why, ERR_UNSUPPORTED, "none of the TLSA records can be used");
}

static int
tls_client_setup(struct tls_context *c, const struct tls_client_conf *conf, struct why *why)
{
    SSL_CTX *ssl = tls_ctx_new(TLS_client_method(), conf->legacy);
    int err = 0;

    if (!ssl)
        return tls_why(why, "no TLS context could be made");
    c->pairs[0].ssl = ssl;
    c->npairs = 1;
    SSL_CTX_set_verify(ssl, c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (conf->ntlsa)
        err = tls_client_dane(c, conf, why);
    else if (conf->ca.n)
        err = tls_add_roots(ssl, conf->ca, NULL, why);
    else if (SSL_CTX_set_default_verify_paths(ssl) != 1 && c->verify)
        err = tls_why(why, "the system's trusted certificates cannot be read");
    if (!err && conf->pair) {
        BIO *bio;
        X509 *leaf = tls_read_leaf(conf->pair->certificate, &bio);

        if (!leaf)
            return tls_why(why, "the client certificate cannot be read (PEM is needed)");
        err = tls_use_leaf(ssl, leaf, bio, conf->pair->key, why);
        X509_free(leaf);
        BIO_free(bio);
    }
    return err;
}

int
tls_certificate_end(struct str pem, uint64_t *ret_s)
{
    BIO *bio;
    X509 *leaf = tls_read_leaf(pem, &bio);
    struct tm tm;
    int err = leaf && ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) == 1 ? 0 : ERR_SYNTAX;
    time_t end = err ? 0 : timegm(&tm);

    X509_free(leaf);
    BIO_free(bio);
    ERR_clear_error();
    *ret_s = end < 0 ? 0 : (uint64_t)end;
    return err;
}

int
tls_client_context(struct tls_context **ret, const struct tls_client_conf *conf, struct why *why)
{
    struct tls_context *c = calloc(1, sizeof(*c));
    int err;

    if (!c)
        return ERR_NOMEM;
    c->refs = 1;
    c->verify = conf->verify || conf->ntlsa;
    map_init(&c->names, 1, true);
    c->pairs = calloc(1, sizeof(*c->pairs));
    err = c->pairs ? tls_client_setup(c, conf, why) : ERR_NOMEM;
    if (err) {
        tls_context_unref(c);
        return err == ERR_NOMEM ? why_set(why, err, "no memory for a TLS context") : err;
    }
    *ret = c;
    return 0;
}

struct tls_context *
tls_context_ref(struct tls_context *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void
tls_context_unref(struct tls_context *c)
{
    struct str key;
    size_t at = 0;

    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    while (map_next(&c->names, &at, &key))
        free((void *)(uintptr_t)key.p);
    map_done(&c->names);
    for (size_t i = 0; i < c->npairs; i++)
        SSL_CTX_free(c->pairs[i].ssl);
    for (size_t i = 0; i < c->ntlsa; i++)
        free((void *)(uintptr_t)c->tlsa[i].data.p);
    free(c->tlsa);
    free(c->pairs);
    free(c);
}
