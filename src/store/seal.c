/*
 * store/seal.c - AES-256-GCM under the master key.
 *
 * Called by the keyring; the supervisor makes a key with it when there is none. Never logs, never
 * keeps a clear text.
 */
#include "core/openssl.h"

#include <sys/random.h>

#include "core/codec.h"
#include "store/seal.h"

#define FORMAT   1u
#define ID_AT    1u
#define NONCE_AT 9u
#define TEXT_AT  21u
#define NONCE_N  12
#define TAG_N    16u

static const struct str head = {"gapura-master-key-1 ", 20};

int
seal_master_make(char dst[SEAL_MASTER_TEXT])
{
    uint8_t key[SEAL_KEY_BYTES];
    struct buf text;
    int r = getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key) ? 0 : ERR_STATE;

    buf_init(&text, SEAL_MASTER_TEXT);
    buf_str(&text, head);
    codec_base64(&text, str_of(key, sizeof(key)));
    buf_char(&text, '\n');
    if (r == 0 && (text.failed || !str_copy(buf_view(&text), dst, SEAL_MASTER_TEXT)))
        r = ERR_NOMEM;
    OPENSSL_cleanse(key, sizeof(key));
    seal_wipe(&text);
    return r;
}

int
seal_master_parse(struct str text, struct seal_master *ret)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct str line = str_trim(str_cut(text, '\n', &text));

    if (!str_starts(line, head) || str_trim(text).n ||
        codec_unbase64(str_from(line, head.n), ret->key, sizeof(ret->key)) !=
            (ssize_t)sizeof(ret->key) ||
        EVP_Digest(ret->key, sizeof(ret->key), digest, NULL, EVP_sha256(), NULL) != 1) {
        seal_master_wipe(ret);
        return ERR_SYNTAX;
    }
    memcpy(ret->id, digest, sizeof(ret->id));
    return 0;
}

void
seal_master_wipe(struct seal_master *m)
{
    OPENSSL_cleanse(m, sizeof(*m));
}

void
seal_wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->cap);
    buf_done(b);
}

/* Both ways: the tag is written or checked. */
static bool
gcm(const struct seal_master *m, bool closing, struct str about, const uint8_t *nonce,
    struct str in, uint8_t *out, uint8_t tag[TAG_N])
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    bool good = c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, m->key, nonce, closing) == 1 &&
                EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)about.p, (int)about.n) == 1 &&
                EVP_CipherUpdate(c, out, &n, (const uint8_t *)in.p, (int)in.n) == 1 &&
                (closing || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, (int)TAG_N, tag) == 1) &&
                EVP_CipherFinal_ex(c, out + n, &last) == 1 &&
                (!closing || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, (int)TAG_N, tag) == 1) &&
                (size_t)n == in.n && last == 0;

    EVP_CIPHER_CTX_free(c);
    if (!good)
        ERR_clear_error();
    return good;
}

int
seal_close(const struct seal_master *m, struct str about, struct str clear, struct buf *out)
{
    uint8_t *p;

    if (clear.n > SEAL_CLEAR_MAX || !clear.n || !about.n)
        return ERR_LIMIT;
    p = (uint8_t *)buf_room(out, TEXT_AT + clear.n + TAG_N);
    if (!p)
        return ERR_NOMEM;
    p[0] = FORMAT;
    memcpy(p + ID_AT, m->id, sizeof(m->id));
    if (getrandom(p + NONCE_AT, NONCE_N, 0) != NONCE_N ||
        !gcm(m, true, about, p + NONCE_AT, clear, p + TEXT_AT, p + TEXT_AT + clear.n))
        return ERR_TLS;
    buf_used(out, TEXT_AT + clear.n + TAG_N);
    return 0;
}

int
seal_open(const struct seal_master *m, struct str about, struct str sealed, struct buf *out)
{
    const uint8_t *in = (const uint8_t *)sealed.p;
    uint8_t tag[TAG_N], *p;
    size_t n;

    if (sealed.n <= TEXT_AT + TAG_N || sealed.n > TEXT_AT + TAG_N + SEAL_CLEAR_MAX ||
        in[0] != FORMAT || !about.n)
        return ERR_CORRUPT;
    if (memcmp(in + ID_AT, m->id, sizeof(m->id)) != 0)
        return ERR_REFUSED;
    n = sealed.n - TEXT_AT - TAG_N;
    p = (uint8_t *)buf_room(out, n);
    if (!p)
        return ERR_NOMEM;
    memcpy(tag, in + TEXT_AT + n, TAG_N);
    if (!gcm(m, false, about, in + NONCE_AT, str_of(in + TEXT_AT, n), p, tag)) {
        OPENSSL_cleanse(p, n);
        return ERR_CORRUPT;
    }
    buf_used(out, n);
    return 0;
}
