/*
 * auth/dkim_message.c - a message's header index, body hashes and header hash, kept for use again.
 *
 * Called by verifier, ARC and signers, and by the session that feeds them.
 */
#include "core/openssl.h"

#include "auth/dkim_crypto.h"
#include "auth/dkim_message.h"
#include "auth/dkim_tag.h"
#include "core/err.h"

struct dkim_message *
dkim_message_create(void)
{
    struct dkim_message *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->hash.md = EVP_MD_CTX_new();
    if (!m->hash.md) {
        free(m);
        return NULL;
    }
    return m;
}

void
dkim_message_free(struct dkim_message *m)
{
    if (!m)
        return;
    EVP_MD_CTX_free(m->hash.md);
    dkim_headers_done(&m->headers);
    dkim_body_done(&m->body);
    free(m);
}

int
dkim_message_headers(struct dkim_message *m, struct str block, const struct dkim_limits *limits)
{
    dkim_body_reset(&m->body);
    return dkim_headers_index(&m->headers, block, limits->fields);
}

void
dkim_message_body(struct dkim_message *m, const char *p, size_t n)
{
    if (n && !m->body.ended)
        dkim_body_push(&m->body, p, n);
}

void
dkim_message_end(struct dkim_message *m)
{
    dkim_body_end(&m->body);
}

struct dkim_hash *
dkim_message_hash(struct dkim_message *m, bool sha1)
{
    m->hash.n = 0;
    m->hash.failed = false;
    return dkim_digest_begin(m->hash.md, sha1) ? &m->hash : NULL;
}

size_t
dkim_message_digest(struct dkim_message *m, uint8_t ret[DKIM_HASH_MAX])
{
    unsigned n = 0;

    dkim_hash_flush(&m->hash);
    if (m->hash.failed || EVP_DigestFinal_ex(m->hash.md, ret, &n) != 1)
        return 0;
    return n;
}

void
dkim_message_hash_list(struct dkim_message *m, struct str list, enum dkim_canon canon)
{
    struct str name;
    bool first = true;

    dkim_headers_select(&m->headers);
    while (list.n && dkim_list_next(&list, &first, &name)) {
        const struct header_field *f = dkim_headers_take(&m->headers, name);
        if (f)
            dkim_hash_field(&m->hash, f, canon);
    }
}
